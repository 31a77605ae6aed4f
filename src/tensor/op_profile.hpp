// SPDX-License-Identifier: Apache-2.0
// Where the time of a network call goes, by kind of operation, and how much arithmetic it is. Layers say what they do
// with an OpScope; without a profile that costs a sum and one look at a thread-local pointer. `t2v bench --profile`
// prints the sums.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>
#include <functional>
#include <map>
#include <string>

#include "tensor/flops.hpp"

namespace t2v {

/// Where operations are only queued: waits until they are done, so that each has a time of its own. Set while a device
/// is profiled; steps are not replayed as a whole then.
inline std::function<void()> wait_for_operations;

struct OpTotals {
  int64_t calls = 0;
  double seconds = 0;
  double cpu_seconds = 0;  // of all threads of the process
  int64_t flops = 0;       // as in tensor/flops.hpp
  int64_t bytes = 0;       // read once and written once: the least that this operation can move
};

class OpScope;

/// Collects what this thread's layers do while it lives; the innermost profile gets it.
class OpProfile {
 public:
  OpProfile() : outer_(current()) { current() = this; }
  ~OpProfile() { current() = outer_; }
  OpProfile(const OpProfile&) = delete;
  OpProfile& operator=(const OpProfile&) = delete;

  /// By name. An operation's time is its own: that of operations inside it is theirs.
  const std::map<std::string, OpTotals>& totals() const { return totals_; }

 private:
  friend class OpScope;
  static OpProfile*& current() {
    static thread_local OpProfile* profile = nullptr;
    return profile;
  }
  std::map<std::string, OpTotals> totals_;
  OpScope* innermost_ = nullptr;
  OpProfile* outer_;
};

class OpScope {
 public:
  OpScope(const char* name, int64_t flops, int64_t bytes) : profile_(OpProfile::current()) {
    counted_flops += flops;
    if (!profile_) return;
    name_ = name;
    flops_ = flops;
    bytes_ = bytes;
    around_ = profile_->innermost_;
    profile_->innermost_ = this;
    if (wait_for_operations) wait_for_operations();
    cpu_begin_ = cpu_now();
    begin_ = Clock::now();
  }
  ~OpScope() {
    if (!profile_) return;
    if (wait_for_operations) wait_for_operations();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin_).count(), cpu = cpu_now() - cpu_begin_;
    profile_->innermost_ = around_;
    if (around_) {
      around_->inner_seconds_ += seconds;
      around_->inner_cpu_ += cpu;
    }
    OpTotals& totals = profile_->totals_[name_];
    ++totals.calls;
    totals.seconds += seconds - inner_seconds_;
    totals.cpu_seconds += cpu - inner_cpu_;
    totals.flops += flops_;
    totals.bytes += bytes_;
  }
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  static double cpu_now() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  }

  OpProfile* profile_;
  const char* name_ = "";
  int64_t flops_ = 0, bytes_ = 0;
  OpScope* around_ = nullptr;
  double inner_seconds_ = 0, inner_cpu_ = 0, cpu_begin_ = 0;
  Clock::time_point begin_;
};

}  // namespace t2v
