// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/frames_to_rgb8.hpp"

#include <algorithm>

#include "cuda/kernels/element.cuh"

namespace t2v::cuda {

namespace {

/// One thread a pixel: three reads, three bytes. The work is bound by memory, and neighbours share their lines.
template <typename Pixel>
__global__ void frames_to_rgb8(RgbJob job) {
  const auto* pixels = static_cast<const Pixel*>(job.pixels);
  const int64_t count = job.frames * job.height * job.width;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += threads) {
    const int64_t x = i % job.width;
    const int64_t y = i / job.width % job.height;
    const int64_t f = i / job.width / job.height;
    const Pixel* pixel = pixels + f * job.frame_stride + y * job.row_stride + x * job.column_stride;
    for (int c = 0; c < 3; ++c) {
      const float value = to_float(pixel[c * job.channel_stride]);
      if (!isfinite(value)) *job.not_finite = 1;  // all writers write the same
      const float unit = fminf(fmaxf(__fadd_rn(__fmul_rn(value, 0.5F), 0.5F), 0.0F), 1.0F);
      job.rgb[i * 3 + c] = static_cast<uint8_t>(__float2int_rn(__fmul_rn(unit, 255.0F)));
    }
  }
}

}  // namespace

int launch_frames_to_rgb8(const RgbJob& job, CUstream_st* stream) {
  const int64_t count = job.frames * job.height * job.width;
  if (count <= 0) return cudaSuccess;
  constexpr int kThreads = 256;
  const auto blocks = static_cast<unsigned>(std::min<int64_t>((count + kThreads - 1) / kThreads, 65535));
  return with_type(job.type,
                   [&](auto zero) { return launch(&frames_to_rgb8<decltype(zero)>, blocks, kThreads, stream, job); });
}

}  // namespace t2v::cuda
