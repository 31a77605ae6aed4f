// SPDX-License-Identifier: Apache-2.0
// A piece of work beside whoever began it.
#pragma once

#include <functional>
#include <mutex>
#include <thread>

namespace t2v {

/// Work on a thread of its own, which takes no signals. For any thread but the work's own.
class Background {
 public:
  Background() = default;
  ~Background() { finish(); }
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  /// Returns while `work` runs; what was begun before is finished first. An exception ends the work and goes no
  /// further: where a failure matters, the work says so itself. Without a thread to be had it runs here.
  void begin(const std::function<void()>& work);
  /// Returns when nothing runs any more; everything the work wrote is then seen.
  void finish();

 private:
  void finish_locked();

  std::mutex mutex_;  // guards what is below; the work does not take it
  std::thread thread_;
};

}  // namespace t2v
