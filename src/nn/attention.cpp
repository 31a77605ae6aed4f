// SPDX-License-Identifier: Apache-2.0
#include "nn/attention.hpp"

#include <ATen/ops/scaled_dot_product_attention.h>

namespace t2v::nn {

namespace {

at::Tensor split_heads(const at::Tensor& x, int64_t heads) {  // [B, L, N*D] -> [B, N, L, D]
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionOptions& options) {
  const at::Tensor out = at::scaled_dot_product_attention(
      split_heads(q, options.heads), split_heads(k, options.heads), split_heads(v, options.heads),
      options.bias, /*dropout_p=*/0.0, options.causal, options.scale);
  return out.transpose(1, 2).reshape({q.size(0), q.size(1), q.size(2)});
}

}  // namespace t2v::nn
