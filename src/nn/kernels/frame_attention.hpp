// SPDX-License-Identifier: Apache-2.0
// Attention along frames: many short sequences (8 to 64 tokens), where general attention kernels spend their time on
// set-up. fp32 on the CPU; the caller keeps ATen's attention for everything else.
#pragma once

#include <cstdint>

namespace t2v::nn::kernels {

/// Shape of one call: qkv is [B, F, P, 3, N, D], contiguous; out is [B, F, P, N, D].
struct FrameAttentionShape {
  int64_t batch = 1, frames = 1, positions = 1, heads = 1, head_dim = 1;
};

/// softmax(q k^T / sqrt(D)) v, over F, for every b, p, n. Plain loops; the meaning of the fast form.
void frame_attention_reference(const float* qkv, float* out, const FrameAttentionShape& shape);

/// The same with the widest vectors this CPU has, for positions [first, last) of batch * P; safe to call from several
/// threads for disjoint ranges.
void frame_attention_cpu(const float* qkv, float* out, const FrameAttentionShape& shape, int64_t first, int64_t last);

/// The fast form's scratch memory grows with F squared; longer clips are ATen's.
constexpr int64_t kMaxAttentionFrames = 512;

}  // namespace t2v::nn::kernels
