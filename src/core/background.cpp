// SPDX-License-Identifier: Apache-2.0
#include "core/background.hpp"

#include <system_error>

#include "core/no_signals.hpp"

namespace t2v {

void Background::begin(const std::function<void()>& work) {
  const auto guarded = [work] {
    try {
      work();
    } catch (...) {  // the work's own matter
    }
  };
  const std::lock_guard lock(mutex_);
  finish_locked();
  try {
    const NoSignals guard;
    thread_ = std::thread(guarded);
  } catch (const std::system_error&) {  // a limit on threads or memory
    guarded();
  }
}

void Background::finish() {
  const std::lock_guard lock(mutex_);
  finish_locked();
}

void Background::finish_locked() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace t2v
