// SPDX-License-Identifier: Apache-2.0
// Holds threads of a test back.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace t2v::test {

/// Closed at first.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_open_; });
  }

 private:
  std::mutex mutex_;  // guards both
  std::condition_variable changed_;
  bool is_open_ = false;
};

/// So long a test looks whether something happens that must not.
constexpr std::chrono::milliseconds kAWhile{50};

}  // namespace t2v::test
