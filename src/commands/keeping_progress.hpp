// SPDX-License-Identifier: Apache-2.0
// Keeps a run's state on disk while it denoises.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "commands/progress.hpp"

namespace t2v::commands {

/// Hands all events to `console`. Writes the state every N steps, and when a signal stops a run that asked for this or
/// has taken long. A state that can't be written is a warning: the run goes on.
class KeepingProgress final : public Progress {
 public:
  struct Options {
    std::filesystem::path file;          ///< where the state goes
    std::function<std::string()> about;  ///< its record, made when first needed
    int64_t every = 0;                   ///< steps; 0: only when stopped
    const RunState* resume = nullptr;
  };
  KeepingProgress(ConsoleProgress& console, Options options) : console_(console), options_(std::move(options)) {}

  void begin(Stage stage, int64_t count) override { console_.begin(stage, count); }
  void step(Stage stage, int64_t index, int64_t count, double seconds) override {
    console_.step(stage, index, count, seconds);
  }
  void end(Stage stage, double seconds) override { console_.end(stage, seconds); }
  bool cancelled() override { return console_.cancelled(); }
  bool wants_state(int64_t steps_done, int64_t steps) override;
  void keep_state(RunState state) override;
  const RunState* resume_state() override { return options_.resume; }

  /// The newest state of this run on disk; empty: none.
  const std::filesystem::path& kept() const { return kept_; }
  int64_t kept_steps() const { return kept_steps_; }

 private:
  ConsoleProgress& console_;
  Options options_;
  std::string about_;
  std::filesystem::path kept_;
  int64_t kept_steps_ = 0;
};

}  // namespace t2v::commands
