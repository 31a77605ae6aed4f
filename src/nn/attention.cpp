// SPDX-License-Identifier: Apache-2.0
#include "nn/attention.hpp"

#include <ATen/ops/empty.h>
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

at::Tensor frame_attention(const at::Tensor& qkv, int64_t heads) {
  const int64_t batch = qkv.size(0), frames = qkv.size(1), positions = qkv.size(2);
  const int64_t width = qkv.size(3) / 3;
  at::Tensor out = at::empty({batch, frames, positions, width}, qkv.options());
  for (int64_t b = 0; b < batch; ++b) {  // B and P can't be one axis of a view
    // [F, P, 3, N, D] -> q, k, v each [P, N, F, D]
    const at::Tensor heads_apart =
        qkv[b].view({frames, positions, 3, heads, width / heads}).permute({2, 1, 3, 0, 4});
    const at::Tensor result =
        at::scaled_dot_product_attention(heads_apart[0], heads_apart[1], heads_apart[2]);
    out[b].view({frames, positions, heads, width / heads}).copy_(result.permute({2, 0, 1, 3}));
  }
  return out;
}

}  // namespace t2v::nn
