// SPDX-License-Identifier: Apache-2.0
// A GraphDevice on the CPU. A replay runs what was recorded again, on the tensors of the recording: whatever else a
// call depended on keeps the value it had then, as it would in a CUDA graph.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>

#include "engine/step_graph.hpp"

namespace t2v::test {

struct FakeGraphLog {
  int made = 0, warmed_up = 0, recorded = 0, replayed = 0;
  int asked = 0;
  bool has_room = true, fails_to_record = false, is_slow = false;
  int failures = 0;  // so many recordings fail, then none
};

class FakeGraph final : public engine::GraphDevice {
 public:
  explicit FakeGraph(FakeGraphLog& log) : log_(log) { ++log_.made; }
  bool has_room() override { return log_.has_room; }
  void warm_up(const std::function<void()>& work) override {
    ++log_.warmed_up;
    work();
  }
  void record(const std::function<void()>& work) override {
    if (log_.fails_to_record || log_.failures-- > 0)
      throw std::runtime_error("operation not permitted when stream is capturing");
    ++log_.recorded;
    work_ = work;
    work_();
  }
  void replay() override {
    ++log_.replayed;
    work_();
  }
  double now() override {  // asked around a replay, then around a call
    constexpr double kFast[] = {0, 1, 1, 3}, kSlow[] = {0, 2, 2, 3};
    return (log_.is_slow ? kSlow : kFast)[log_.asked++ % 4];
  }

 private:
  FakeGraphLog& log_;
  std::function<void()> work_;
};

/// Recordings that are made here, for `calls` calls.
inline engine::StepGraph fake_graph(FakeGraphLog& log, int64_t calls = 20) {
  return {[&log] { return std::make_unique<FakeGraph>(log); }, calls};
}

}  // namespace t2v::test
