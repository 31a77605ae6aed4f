// SPDX-License-Identifier: Apache-2.0
// Element types of the kernels: all arithmetic is in fp32.
#pragma once

#include "cuda/kernels/launch.cuh"
#include "engine/cuda_plugin_api.hpp"

namespace t2v::cuda {

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__half x) { return __half2float(x); }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

template <typename T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

/// Elements that one thread loads and stores together.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T at[kCount];
};

/// work(T()) for the element type of a job.
template <typename Work>
int with_type(ElementType type, Work work) {
  switch (type) {
    case ElementType::fp32: return work(float());
    case ElementType::fp16: return work(__half());
    case ElementType::bf16: return work(__nv_bfloat16());
  }
  return cudaErrorInvalidValue;
}

}  // namespace t2v::cuda
