// SPDX-License-Identifier: Apache-2.0
// One pass over memory: it is bound by nothing else.
#include <algorithm>

#include "cuda/kernels/element.cuh"
#include "cuda/kernels/layer_kernels.hpp"

namespace t2v::cuda {

namespace {

constexpr int kThreads = 256;

template <typename T, int kWidth>
__global__ void geglu(GegluJob job) {
  const int64_t packs = job.width / kWidth, count = job.rows * packs;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * blockDim.x;
  const auto* x = static_cast<const Pack<T, kWidth>*>(job.x);
  auto* out = static_cast<Pack<T, kWidth>*>(job.out);
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += threads) {
    const int64_t row = i / packs, at = row * 2 * packs + i % packs;
    const Pack<T, kWidth> hidden = x[at], gate = x[at + packs];
    Pack<T, kWidth> result;
    for (int k = 0; k < kWidth; ++k) {
      const float g = to_float(gate.at[k]);
      result.at[k] = from_float<T>(to_float(hidden.at[k]) * 0.5F * g * (1.0F + erff(g * 0.70710678F)));
    }
    out[i] = result;
  }
}

template <typename T, int kWidth>
int run(const GegluJob& job, CUstream_st* stream) {
  const int64_t packs = job.rows * (job.width / kWidth);
  const auto blocks = static_cast<unsigned>(std::min<int64_t>((packs + kThreads - 1) / kThreads, 65535));
  return launch(&geglu<T, kWidth>, blocks, kThreads, stream, job);
}

}  // namespace

int launch_geglu(const GegluJob& job, CUstream_st* stream) {
  if (job.rows * job.width == 0) return cudaSuccess;
  return with_type(job.type, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kWide = 16 / static_cast<int>(sizeof(T));
    if (job.width % kWide == 0) return run<T, kWide>(job, stream);
    return run<T, 1>(job, stream);
  });
}

}  // namespace t2v::cuda
