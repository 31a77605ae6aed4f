// SPDX-License-Identifier: Apache-2.0
// One warp a row, which stays in its registers: memory is read once, though the mean comes before the squares around
// it. What every row reads (weight, bias, offset) comes from the caches.
#include <cstdint>

#include "cuda/kernels/element.cuh"
#include "cuda/kernels/layer_kernels.hpp"

namespace t2v::cuda {

namespace {

constexpr int kWarp = 32;
constexpr int kWarps = 4;  // of a block

__device__ float sum_of_warp(float value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += __shfl_xor_sync(0xffffffffU, value, mask);
  return value;
}

/// work(i, pack) for every pack of a row that this lane has: its own number, 32 further, and so on.
template <int kPacks, typename Work>
__device__ void each_pack(int packs, Work work) {
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    const int pack = i * kWarp + static_cast<int>(threadIdx.x) % kWarp;
    if (pack < packs) work(i, pack);
  }
}

template <typename T, int kWidth, int kPacks>
__global__ void layer_norm(LayerNormJob job) {
  using Values = Pack<T, kWidth>;
  const unsigned row = blockIdx.x * kWarps + threadIdx.x / kWarp;  // 32 bits: it is divided below
  if (row >= job.rows) return;
  const int packs = static_cast<int>(job.width) / kWidth;
  const float width = static_cast<float>(job.width);
  const auto* x = static_cast<const Values*>(job.x) + static_cast<int64_t>(row) * packs;
  const auto* offset = static_cast<const Values*>(job.offset);
  float value[kPacks][kWidth], sum = 0, square = 0;
  each_pack<kPacks>(packs, [&](int i, int pack) {
    const Values own = x[pack];
    for (int k = 0; k < kWidth; ++k) value[i][k] = to_float(own.at[k]);
    if (offset) {
      const Values added = offset[pack];
      for (int k = 0; k < kWidth; ++k) value[i][k] += to_float(added.at[k]);
    }
    for (int k = 0; k < kWidth; ++k) sum += value[i][k];
  });
  const float mean = sum_of_warp(sum) / width;
  each_pack<kPacks>(packs, [&](int i, int) {
    for (int k = 0; k < kWidth; ++k) {
      value[i][k] -= mean;
      square += value[i][k] * value[i][k];
    }
  });
  const float inverse = rsqrtf(sum_of_warp(square) / width + static_cast<float>(job.eps));
  const auto *weight = static_cast<const Values*>(job.weight), *bias = static_cast<const Values*>(job.bias);
  const auto* position = static_cast<const Values*>(job.positions);
  if (position) {
    const auto each = static_cast<unsigned>(job.rows_per_position), count = static_cast<unsigned>(job.position_count);
    position += static_cast<int64_t>(row / each % count) * packs;
  }
  auto* out = static_cast<Values*>(job.out) + static_cast<int64_t>(row) * packs;
  each_pack<kPacks>(packs, [&](int i, int pack) {
    const Values scale = weight[pack], shift = bias[pack];
    for (int k = 0; k < kWidth; ++k)
      value[i][k] = value[i][k] * inverse * to_float(scale.at[k]) + to_float(shift.at[k]);
    if (position) {
      const Values added = position[pack];
      for (int k = 0; k < kWidth; ++k) value[i][k] += to_float(added.at[k]);
    }
    Values result;
    for (int k = 0; k < kWidth; ++k) result.at[k] = from_float<T>(value[i][k]);
    out[pack] = result;
  });
}

template <typename T, int kWidth, int kValues>  // so many in the registers of a lane
int queue(const LayerNormJob& job, CUstream_st* stream) {
  const auto blocks = static_cast<unsigned>((job.rows + kWarps - 1) / kWarps);
  return launch(&layer_norm<T, kWidth, kValues / kWidth>, blocks, kWarps * kWarp, stream, job);
}

/// 320, 640 and 1280 are the widths of image and video UNets.
template <typename T, int kWidth>
int run(const LayerNormJob& job, CUstream_st* stream) {
  if (job.width <= 16 * kWarp) return queue<T, kWidth, 16>(job, stream);
  if (job.width <= 24 * kWarp) return queue<T, kWidth, 24>(job, stream);
  if (job.width <= 40 * kWarp) return queue<T, kWidth, 40>(job, stream);
  return queue<T, kWidth, kLayerNormWidth / kWarp>(job, stream);
}

/// Whether 16 bytes can be read at once wherever a row begins.
bool is_aligned(const LayerNormJob& job, int64_t element_bytes) {
  const auto any = [](auto... pointers) { return (reinterpret_cast<std::uintptr_t>(pointers) | ...); };
  return (any(job.x, job.weight, job.bias, job.offset, job.positions, job.out) |
          static_cast<std::uintptr_t>(job.width * element_bytes)) %
             16 ==
         0;
}

}  // namespace

int launch_layer_norm(const LayerNormJob& job, CUstream_st* stream) {
  if (job.width > kLayerNormWidth || job.rows > 0x7fffffff) return cudaErrorInvalidValue;
  if (job.rows * job.width == 0) return cudaSuccess;
  return with_type(job.type, [&](auto zero) {
    using T = decltype(zero);
    if (is_aligned(job, sizeof(T))) return run<T, 16 / static_cast<int>(sizeof(T))>(job, stream);
    return run<T, 1>(job, stream);
  });
}

}  // namespace t2v::cuda
