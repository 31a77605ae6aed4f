// SPDX-License-Identifier: Apache-2.0
#include "commands/keeping_progress.hpp"

#include "commands/kept_work.hpp"
#include "core/log.hpp"
#include "engine/run_state.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

bool KeepingProgress::wants_state(int64_t steps_done, int64_t) {
  if (options_.every > 0 && steps_done % options_.every == 0) return true;
  const bool is_worth_it = options_.every > 0 || console_.total_seconds() > kSecondsWorthKeeping;
  return is_worth_it && cancelled();
}

void KeepingProgress::keep_state(RunState state) {
  if (about_.empty()) about_ = options_.about();
  try {
    kept_ = save_somewhere(kept_.empty() ? options_.file : kept_,
                           [&](const std::filesystem::path& file) { engine::save_run_state(file, state, about_); });
    kept_steps_ = state.steps_done;
    log::debug("state after step {}: {}", state.steps_done, kept_.string());
  } catch (const Error& error) {
    log::warn("the run's state could not be kept: {}", error.what());
  }
}

}  // namespace t2v::commands
