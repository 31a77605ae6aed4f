// SPDX-License-Identifier: Apache-2.0
// Runs CUDA kernels on the CPU: each thread of a block is a fiber, and __syncthreads() and the shuffles of a warp wait
// for the others as they do on a device. Blocks run one after the other. Slow, and for tests alone; it shows wrong
// arithmetic, wrong indices (under AddressSanitizer or valgrind) and threads that do not meet, but no data race between
// two barriers.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#include "emulated/half_types.hpp"

#define __global__
#define __launch_bounds__(...)
#define __device__
#define __shared__ static  // one block at a time

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned width, unsigned height = 1, unsigned depth = 1) : x(width), y(height), z(depth) {}
};

struct CUstream_st;
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };

namespace t2v::cuda::emulated {

inline dim3 thread_index{0, 0, 0}, block_index{0, 0, 0}, block_size{1}, grid_size{1};

/// Runs `kernel` for every thread of every block. Throws std::logic_error where threads wait for each other for ever.
void run(const std::function<void()>& kernel, dim3 grid, unsigned threads, std::size_t shared_bytes);
float* shared_memory();  ///< of the running block, NaN at its start
void wait_for_block();
/// The value that lane `this lane ^ mask` of the warp brings.
float exchange(float value, unsigned mask);

}  // namespace t2v::cuda::emulated

#define threadIdx t2v::cuda::emulated::thread_index
#define blockIdx t2v::cuda::emulated::block_index
#define blockDim t2v::cuda::emulated::block_size
#define gridDim t2v::cuda::emulated::grid_size

inline void __syncthreads() { t2v::cuda::emulated::wait_for_block(); }
inline float __shfl_xor_sync(unsigned /*lanes*/, float value, int mask) {
  return t2v::cuda::emulated::exchange(value, static_cast<unsigned>(mask));
}
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
using std::isfinite;
inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

namespace t2v::cuda {

template <typename Job>
int launch(void (*kernel)(Job), dim3 grid, unsigned threads, CUstream_st* /*stream*/, Job job,
           std::size_t shared_bytes = 0) {
  emulated::run([&] { kernel(job); }, grid, threads, shared_bytes);
  return cudaSuccess;
}

inline float* dynamic_shared() { return emulated::shared_memory(); }

}  // namespace t2v::cuda
