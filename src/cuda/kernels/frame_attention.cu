// SPDX-License-Identifier: Apache-2.0
// One block a sequence: a position of one head, its few frames in shared memory. Reads q, k and v where the projection
// left them, so nothing is permuted.
#include "cuda/kernels/element.cuh"
#include "cuda/kernels/layer_kernels.hpp"

namespace t2v::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarp = 32;

/// q, k, v [F, D + 1] and the weights [F, F]; the odd row length keeps the banks apart.
int64_t shared_bytes(const FrameAttentionJob& job) {
  return (3 * job.frames * (job.head_dim + 1) + job.frames * job.frames) * static_cast<int64_t>(sizeof(float));
}

template <typename T>
__global__ void frame_attention(FrameAttentionJob job) {
  float* shared = dynamic_shared();
  const int frames = static_cast<int>(job.frames), width = static_cast<int>(job.head_dim), row = width + 1;
  float *q = shared, *k = q + frames * row, *v = k + frames * row, *weights = v + frames * row;
  const int64_t head = blockIdx.x % job.heads, position = blockIdx.x / job.heads % job.positions;
  const int64_t batch = blockIdx.x / job.heads / job.positions;
  const int64_t all = job.heads * job.head_dim;
  const int64_t token = batch * job.frames * job.positions + position;  // of frame 0
  const auto* from = static_cast<const T*>(job.qkv) + token * 3 * all + head * job.head_dim;
  const float scale = rsqrtf(static_cast<float>(width));
  for (int i = threadIdx.x; i < frames * width; i += blockDim.x) {
    const int f = i / width, d = i % width;
    const T* at = from + f * job.positions * 3 * all + d;
    q[f * row + d] = to_float(at[0]) * scale;
    k[f * row + d] = to_float(at[all]);
    v[f * row + d] = to_float(at[2 * all]);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < frames * frames; i += blockDim.x) {
    const float *a = q + i / frames * row, *b = k + i % frames * row;
    float sum = 0;
    for (int d = 0; d < width; ++d) sum += a[d] * b[d];
    weights[i] = sum;
  }
  __syncthreads();
  const int lane = threadIdx.x % kWarp;
  for (int query = threadIdx.x / kWarp; query < frames; query += blockDim.x / kWarp) {
    float* w = weights + query * frames;
    float largest = -INFINITY, sum = 0;
    for (int i = lane; i < frames; i += kWarp) largest = fmaxf(largest, w[i]);
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, offset));
    }
    for (int i = lane; i < frames; i += kWarp) {
      w[i] = __expf(w[i] - largest);
      sum += w[i];
    }
    for (int offset = kWarp / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, offset);
    for (int i = lane; i < frames; i += kWarp) w[i] /= sum;
  }
  __syncthreads();
  auto* out = static_cast<T*>(job.out) + token * all + head * job.head_dim;
  for (int i = threadIdx.x; i < frames * width; i += blockDim.x) {
    const int f = i / width, d = i % width;
    float sum = 0;
    for (int key = 0; key < frames; ++key) sum += weights[f * frames + key] * v[key * row + d];
    out[f * job.positions * all + d] = from_float<T>(sum);
  }
}

}  // namespace

int launch_frame_attention(const FrameAttentionJob& job, CUstream_st* stream) {
  const int64_t blocks = job.batch * job.positions * job.heads, bytes = shared_bytes(job);
  if (bytes > kFrameAttentionBytes || blocks > 0x7fffffff) return cudaErrorInvalidValue;
  if (blocks * job.frames == 0) return cudaSuccess;
  return with_type(job.type, [&](auto zero) {
    return launch(&frame_attention<decltype(zero)>, static_cast<unsigned>(blocks), kThreads, stream, job,
                  static_cast<std::size_t>(bytes));
  });
}

}  // namespace t2v::cuda
