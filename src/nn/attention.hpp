// SPDX-License-Identifier: Apache-2.0
// Scaled dot-product attention over heads that lie side by side on the last axis.
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

namespace t2v::nn {

struct AttentionOptions {
  int64_t heads = 1;
  std::optional<double> scale = {};     // default: 1 / sqrt(head width)
  std::optional<at::Tensor> bias = {};  // added to the logits, broadcastable to [B, N, Lq, Lk]
  bool causal = false;
};

/// softmax(q k^T * scale + bias) v for q [B, Lq, N*D], k and v [B, Lk, N*D] -> [B, Lq, N*D].
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options);

/// Self-attention along F at each of P positions, for q, k and v side by side: [B, F, P, 3*N*D] -> [B, F, P, N*D].
at::Tensor frame_attention(const at::Tensor& qkv, int64_t heads);

}  // namespace t2v::nn
