// SPDX-License-Identifier: Apache-2.0
// Times a stage of a run and reports it to Progress.
#pragma once

#include <chrono>
#include <cstdint>

#include "t2v/error.hpp"
#include "t2v/progress.hpp"

namespace t2v::engine {

/// Lives as long as the stage. step() also asks whether the run was cancelled, so a run stops within one step or frame.
class StageScope {
 public:
  StageScope(Progress& progress, Stage stage, int64_t count = 0)
      : progress_(progress), stage_(stage), count_(count), begin_(Clock::now()), last_(begin_) {
    progress_.begin(stage_, count_);
  }
  ~StageScope() { progress_.end(stage_, seconds_since(begin_)); }
  StageScope(const StageScope&) = delete;
  StageScope& operator=(const StageScope&) = delete;

  void step() {
    progress_.step(stage_, index_++, count_, seconds_since(last_));
    last_ = Clock::now();
    if (progress_.cancelled()) throw Error(ErrorCode::interrupted, "interrupted");
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  Progress& progress_;
  Stage stage_;
  int64_t count_;
  int64_t index_ = 0;
  Clock::time_point begin_, last_;
};

}  // namespace t2v::engine
