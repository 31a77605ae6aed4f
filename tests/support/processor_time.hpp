// SPDX-License-Identifier: Apache-2.0
// What this process has used of the processor: others that share the machine do not count.
#pragma once

#include <sys/resource.h>

namespace t2v::test {

inline double processor_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace t2v::test
