// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_size.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "engine/cuda_plugin.hpp"

namespace t2v::engine {

int64_t memory_size(c10::Device device) {
  if (device.is_cuda()) return cuda_total_bytes(std::max<int>(0, device.index()));
  const int64_t installed = sysconf(_SC_PHYS_PAGES) * static_cast<int64_t>(sysconf(_SC_PAGESIZE));
  int64_t limit = 0;
  std::ifstream group("/sys/fs/cgroup/memory.max");  // "max" where there is no limit
  return group >> limit && limit > 0 ? std::min(installed, limit) : installed;
}

}  // namespace t2v::engine
