// SPDX-License-Identifier: Apache-2.0
// What kernels need of the CUDA runtime beside its language. tests/cuda/emulated has a header of the same name, with
// which the kernels run on a CPU, thread by thread.
#pragma once

#include <cstddef>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

namespace t2v::cuda {

/// Queues kernel(job) on blocks of `threads` threads, each with `shared_bytes` of memory behind dynamic_shared().
template <typename Job>
int launch(void (*kernel)(Job), dim3 grid, unsigned threads, CUstream_st* stream, Job job,
           std::size_t shared_bytes = 0) {
  void* arguments[] = {&job};
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, dim3(threads), arguments, shared_bytes, stream);
}

/// The memory that the threads of a block share, as launch() was asked for.
__device__ inline float* dynamic_shared() {
  extern __shared__ float memory[];
  return memory;
}

}  // namespace t2v::cuda
