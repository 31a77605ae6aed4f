// SPDX-License-Identifier: Apache-2.0
// What libt2v_cuda.so gives the engine: one table of functions. It speaks plain C types, so that the engine is compiled
// without a CUDA header and a plug-in of another build is recognised by its number instead of crashing.
#pragma once

#include <algorithm>
#include <cstdint>

namespace t2v::cuda {

inline constexpr int kPluginAbi = 7;  ///< raised with every change of this file

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

/// The jobs below are on the device, dense, queued on its current libtorch stream. Sums are in fp32 whatever the type.

using ElementType = PixelType;

/// nn/kernels/group_norm.hpp on channels-last images; `shift` [videos, channels] is added to the images of its video
/// first (the time embedding), and may be null.
struct GroupNormJob {
  const void *x, *weight, *bias, *shift;
  void* out;
  ElementType type;
  int64_t images, pixels, channels, groups, images_per_video;
  double eps;
  bool silu;
  float* scratch;  ///< group_norm_scratch() floats
};
/// Each image is cut into so many chunks that few images still fill the device (a video normalised as one has 32 groups
/// only) and many do not pay for more: every chunk adds up what all chunks of its image have.
constexpr int64_t group_norm_chunks(const GroupNormJob& job) {
  constexpr int64_t kBlocks = 512, kMinPixels = 16;  // blocks: four for each multiprocessor of an H100
  return std::clamp<int64_t>(kBlocks / std::max<int64_t>(job.images, 1), 1, job.pixels / kMinPixels + 1);
}
constexpr int64_t group_norm_scratch(const GroupNormJob& job) {
  return job.images * group_norm_chunks(job) * job.groups * 2;
}

/// nn/kernels/frame_attention.hpp: qkv [B, F, P, 3, N, D] -> out [B, F, P, N, D]; F is 32 at most.
struct FrameAttentionJob {
  const void* qkv;
  void* out;
  ElementType type;
  int64_t batch, frames, positions, heads, head_dim;
};
/// Shared memory of one block; more is refused, and the caller takes ATen's attention.
constexpr int64_t kFrameAttentionBytes = 48 * 1024;

/// nn/kernels/geglu.hpp: x [rows, 2, width] -> out [rows, width].
struct GegluJob {
  const void* x;
  void* out;
  ElementType type;
  int64_t rows, width;
};

/// sum [rows, channels] += share * (x + bias): x like sum, bias [channels]. Pointers are aligned to 16 bytes.
struct AddBiasedJob {
  void* sum;
  const void *x, *bias;
  ElementType type;
  int64_t rows, channels;
  float share;
};

/// nn/kernels/layer_norm.hpp: x [rows, width] -> out. `offset` [width] is added to x first, and last, to row r,
/// `positions` [position_count, width] of r / rows_per_position, which begins anew after the last. Both may be null.
struct LayerNormJob {
  const void *x, *weight, *bias, *offset, *positions;
  void* out;
  ElementType type;
  int64_t rows, width, position_count, rows_per_position;
  double eps;
};
/// What the registers of a warp hold; wider rows are refused, and the caller takes ATen's form.
constexpr int64_t kLayerNormWidth = 2048;

/// media/color.hpp, byte for byte: rgb [F, H, W, 3] -> planes y [F, H, W], u and v [F, H/2, W/2]. H and W are even.
struct YuvJob {
  const uint8_t* rgb;
  uint8_t *y, *u, *v;
  int64_t frames, height, width;
};

/// Functions return 0, or another number after which last_error() says what happened on this thread.
struct PluginApi {
  int abi;  ///< kPluginAbi of the plug-in's build; stays the first member
  const char* (*last_error)();
  int (*device_count)(int* count);
  int (*device_info)(int device, DeviceInfo*);
  int (*memory_info)(int device, int64_t* free_bytes, int64_t* total_bytes);
  /// By libtorch's allocator, and the part of it that no tensor uses; fails before its first allocation.
  int (*memory_reserved)(int device, int64_t* current_bytes, int64_t* peak_bytes, int64_t* unused_bytes);
  int (*synchronize)(int device);
  int (*empty_cache)();
  int (*rgb_to_uint8)(int device, const RgbJob&);  ///< queued on the device's current libtorch stream
  int (*group_norm)(int device, const GroupNormJob&);
  int (*frame_attention)(int device, const FrameAttentionJob&);
  int (*geglu)(int device, const GegluJob&);
  int (*add_biased)(int device, const AddBiasedJob&);
  int (*layer_norm)(int device, const LayerNormJob&);
  int (*rgb_to_yuv420)(int device, const YuvJob&);
  /// What is queued between graph_enter() and graph_leave() goes to a stream of the graph's own; with `records` it is
  /// kept instead of run, until the next recording, unless `keep` is 0. Both wait for the device.
  int (*graph_make)(int device, void** graph);
  int (*graph_enter)(void* graph, int records);
  int (*graph_leave)(void* graph, int keep);
  int (*graph_replay)(void* graph);  ///< on the device's current libtorch stream
  int (*graph_free)(void* graph);    ///< and its memory; waits for the device
};

using PluginEntry = const PluginApi* (*)();
inline constexpr const char* kPluginEntryName = "t2v_cuda_plugin";

}  // namespace t2v::cuda
