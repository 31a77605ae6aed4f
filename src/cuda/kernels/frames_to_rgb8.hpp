// SPDX-License-Identifier: Apache-2.0
// Decoded frames to 8-bit RGB on the device, so that a sixth of the bytes cross the bus: x in [-1, 1] becomes
// round(clamp(x / 2 + 0.5, 0, 1) * 255) in fp32, halves to even, as diffusers 0.42.1 VaeImageProcessor does.
#pragma once

#include <cmath>
#include <cstdint>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "engine/cuda_plugin_api.hpp"

struct CUstream_st;

namespace t2v::cuda {

/// Queues the kernel. Returns a cudaError_t as a number, 0 for success.
int launch_frames_to_rgb8(const RgbJob& job, CUstream_st* stream);

/// The plain form, on host memory: what the kernel is compared with.
template <typename Pixel>
void frames_to_rgb8_reference(const RgbJob& job) {
  const auto* pixels = static_cast<const Pixel*>(job.pixels);
  uint8_t* out = job.rgb;
  for (int64_t f = 0; f < job.frames; ++f) {
    for (int64_t y = 0; y < job.height; ++y) {
      for (int64_t x = 0; x < job.width; ++x) {
        for (int64_t c = 0; c < 3; ++c) {
          const auto value = static_cast<float>(
              pixels[f * job.frame_stride + c * job.channel_stride + y * job.row_stride + x * job.column_stride]);
          if (!std::isfinite(value)) *job.not_finite = 1;
          const float unit = std::fmin(std::fmax(value * 0.5F + 0.5F, 0.0F), 1.0F);  // NaN becomes 0
          *out++ = static_cast<uint8_t>(std::nearbyint(unit * 255.0F));
        }
      }
    }
  }
}

inline void frames_to_rgb8_reference(const RgbJob& job) {
  switch (job.type) {
    case PixelType::fp32: return frames_to_rgb8_reference<float>(job);
    case PixelType::fp16: return frames_to_rgb8_reference<c10::Half>(job);
    case PixelType::bf16: return frames_to_rgb8_reference<c10::BFloat16>(job);
  }
}

}  // namespace t2v::cuda
