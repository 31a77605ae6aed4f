// SPDX-License-Identifier: Apache-2.0
// One pass over memory: it is bound by nothing else.
#include <algorithm>
#include <cstdint>

#include "cuda/kernels/element.cuh"
#include "cuda/kernels/layer_kernels.hpp"

namespace t2v::cuda {

namespace {

constexpr int kThreads = 256;

template <typename T, int kWidth>
__global__ void add_biased(AddBiasedJob job) {
  const int64_t packs = job.channels / kWidth, count = job.rows * packs;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * blockDim.x;
  const auto *x = static_cast<const Pack<T, kWidth>*>(job.x), *bias = static_cast<const Pack<T, kWidth>*>(job.bias);
  auto* sum = static_cast<Pack<T, kWidth>*>(job.sum);
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += threads) {
    const Pack<T, kWidth> added = x[i], offset = bias[i % packs];
    Pack<T, kWidth> result = sum[i];
    for (int k = 0; k < kWidth; ++k) {
      result.at[k] =
          from_float<T>(to_float(result.at[k]) + job.share * (to_float(added.at[k]) + to_float(offset.at[k])));
    }
    sum[i] = result;
  }
}

template <typename T, int kWidth>
int run(const AddBiasedJob& job, CUstream_st* stream) {
  const int64_t packs = job.rows * (job.channels / kWidth);
  const auto blocks = static_cast<unsigned>(std::min<int64_t>((packs + kThreads - 1) / kThreads, 65535));
  return launch(&add_biased<T, kWidth>, blocks, kThreads, stream, job);
}

}  // namespace

int launch_add_biased(const AddBiasedJob& job, CUstream_st* stream) {
  if (job.rows * job.channels == 0) return cudaSuccess;
  return with_type(job.type, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kWide = 16 / static_cast<int>(sizeof(T));
    if (job.channels % kWide == 0) return run<T, kWide>(job, stream);
    return run<T, 1>(job, stream);
  });
}

}  // namespace t2v::cuda
