// SPDX-License-Identifier: Apache-2.0
// Progress on standard error: a bar a stage on a terminal, plain lines elsewhere, or JSON events.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "cli/invocation.hpp"
#include "t2v/progress.hpp"

namespace t2v::commands {

/// What a finished run says.
struct Summary {
  std::string output;
  int64_t seed = 0;
  int64_t frames = 0;
};

class ConsoleProgress final : public Progress {
 public:
  enum class Form { bar, lines, json, none };
  explicit ConsoleProgress(const cli::RunOptions& options);

  void begin(Stage stage, int64_t count) override;
  void step(Stage stage, int64_t index, int64_t count, double seconds) override;
  void end(Stage stage, double seconds) override;
  bool cancelled() override;  ///< a signal came

  void clear_bar();                   ///< before a line of text is printed
  void done(const Summary& summary);  ///< the last event of a run
  void restart();                     ///< forgets the times: a new run begins
  double seconds(Stage stage) const { return seconds_[static_cast<size_t>(stage)]; }
  double total_seconds() const;  ///< since construction or restart()

 private:
  using Clock = std::chrono::steady_clock;
  void draw(Stage stage, int64_t done, int64_t count, double elapsed);
  void line(Stage stage, int64_t done, int64_t count, double elapsed);

  Form form_;
  bool bar_drawn_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point stage_start_ = start_;
  Clock::time_point last_shown_{};
  int64_t steps_done_ = 0;
  std::array<double, 5> seconds_{};  ///< by Stage
};

/// The most memory this process ever had in use; 0 where the system does not say (no /proc).
int64_t peak_rss_bytes();

}  // namespace t2v::commands
