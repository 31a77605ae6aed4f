// SPDX-License-Identifier: Apache-2.0
// What libt2v_cuda.so gives the engine: one table of functions. It speaks plain C types, so that the engine is compiled
// without a CUDA header and a plug-in of another build is recognised by its number instead of crashing.
#pragma once

#include <cstdint>

namespace t2v::cuda {

inline constexpr int kPluginAbi = 1;  ///< raised with every change of this file

struct DeviceInfo {
  char name[256];
  int capability_major, capability_minor;
  int multiprocessors;
  int64_t total_bytes;
};

enum class PixelType : int { fp32 = 0, fp16 = 1, bf16 = 2 };

/// Frames [F, 3, H, W] in [-1, 1] on the device, any strides (in elements), to packed RGB [F, H, W, 3] on the device.
struct RgbJob {
  const void* pixels;
  PixelType type;
  int64_t frames, height, width;
  int64_t frame_stride, channel_stride, row_stride, column_stride;
  uint8_t* rgb;
  int* not_finite;  ///< device memory, one int, set to 1 when a pixel is NaN or Inf and otherwise left as it is
};

/// Functions return 0, or another number after which last_error() says what happened on this thread.
struct PluginApi {
  int abi;                    ///< kPluginAbi of the plug-in's build; stays the first member
  const char* (*last_error)();
  int (*device_count)(int* count);
  int (*device_info)(int device, DeviceInfo*);
  int (*memory_info)(int device, int64_t* free_bytes, int64_t* total_bytes);
  int (*memory_reserved)(int device, int64_t* current_bytes, int64_t* peak_bytes);  ///< by libtorch's allocator
  int (*synchronize)(int device);
  int (*empty_cache)();
  int (*rgb_to_uint8)(int device, const RgbJob&);  ///< queued on the device's current libtorch stream
};

using PluginEntry = const PluginApi* (*)();
inline constexpr const char* kPluginEntryName = "t2v_cuda_plugin";

}  // namespace t2v::cuda
