// SPDX-License-Identifier: Apache-2.0
// A plug-in with one small device that others have nearly filled, and one whose driver fails.
#include <cstdio>

#include "engine/cuda_plugin_api.hpp"
#include "t2v/export.hpp"

namespace {

using t2v::cuda::DeviceInfo;

int device_info(int, DeviceInfo* info) {
  std::snprintf(info->name, sizeof info->name, "a full device");
  info->capability_major = 9;
  info->total_bytes = 2'000'000'000;
  return 0;
}

int memory_info(int device, int64_t* free_bytes, int64_t* total_bytes) {
  *free_bytes = 30'000'000;
  *total_bytes = 2'000'000'000;
  return device == 0 ? 0 : 2;
}

int memory_reserved(int, int64_t* current_bytes, int64_t* peak_bytes, int64_t* unused_bytes) {
  *current_bytes = *peak_bytes = 5'000'000;
  *unused_bytes = 1'000'000;
  return 0;
}

const char* last_error() { return "cudaErrorMemoryAllocation: out of memory"; }

int device_count(int* count) {
  *count = 2;
  return 0;
}

}  // namespace

extern "C" T2V_API const t2v::cuda::PluginApi* t2v_cuda_plugin() {
  static t2v::cuda::PluginApi api{};
  api.abi = t2v::cuda::kPluginAbi;
  api.last_error = &last_error;
  api.device_count = &device_count;
  api.device_info = &device_info;
  api.memory_info = &memory_info;
  api.memory_reserved = &memory_reserved;
  return &api;
}
