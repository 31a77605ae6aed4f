// SPDX-License-Identifier: Apache-2.0
// One thread a 2 x 2 square of pixels: four luma values and one of each chroma, in the integers of core/bt709.hpp.
#include <algorithm>

#include "core/bt709.hpp"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/layer_kernels.hpp"

namespace t2v::cuda {

namespace {

constexpr int kThreads = 256;

__device__ uint8_t level(int r, int g, int b, bt709::Factors f, int extra_bits) {
  const int bits = bt709::kBits + extra_bits;
  const int rounding = (f.offset << bits) + (1 << (bits - 1));
  return static_cast<uint8_t>((f.r * r + f.g * g + f.b * b + rounding) >> bits);
}

__global__ void rgb_to_yuv420(YuvJob job) {
  constexpr bt709::Factors kLuma = bt709::kY, kCb = bt709::kU, kCr = bt709::kV;
  const int64_t half_width = job.width / 2, half_height = job.height / 2, count = job.frames * half_height * half_width;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += threads) {
    const int64_t x = i % half_width * 2, y = i / half_width % half_height * 2, f = i / half_width / half_height;
    int r = 0, g = 0, b = 0;
    for (int corner = 0; corner < 4; ++corner) {
      const int64_t pixel = (f * job.height + y + corner / 2) * job.width + x + corner % 2;
      const uint8_t* p = job.rgb + 3 * pixel;
      job.y[pixel] = level(p[0], p[1], p[2], kLuma, 0);
      r += p[0];
      g += p[1];
      b += p[2];
    }
    job.u[i] = level(r, g, b, kCb, 2);
    job.v[i] = level(r, g, b, kCr, 2);
  }
}

}  // namespace

int launch_rgb_to_yuv420(const YuvJob& job, CUstream_st* stream) {
  if (job.width % 2 != 0 || job.height % 2 != 0) return cudaErrorInvalidValue;
  const int64_t squares = job.frames * job.height * job.width / 4;
  if (squares <= 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>(std::min<int64_t>((squares + kThreads - 1) / kThreads, 65535));
  return launch(&rgb_to_yuv420, blocks, kThreads, stream, job);
}

}  // namespace t2v::cuda
