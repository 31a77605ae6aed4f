// SPDX-License-Identifier: Apache-2.0
#include "nn/attention.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include "nn/kernels/frame_attention.hpp"
#include "tensor/attention_backends.hpp"
#include "tensor/device_kernels.hpp"
#include "tensor/op_profile.hpp"
#include "tensor/parallel.hpp"

namespace t2v::nn {

namespace {

at::Tensor split_heads(const at::Tensor& x, int64_t heads) {  // [B, L, N*D] -> [B, N, L, D]
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

bool has_frame_kernel(const at::Tensor& qkv) {
  return qkv.is_cpu() && qkv.scalar_type() == at::kFloat && qkv.size(1) <= kernels::kMaxAttentionFrames &&
         qkv.is_contiguous();
}

void frame_attention_aten(const at::Tensor& qkv, int64_t heads, at::Tensor& out) {
  const int64_t frames = qkv.size(1), positions = qkv.size(2), head_dim = qkv.size(3) / 3 / heads;
  for (int64_t b = 0; b < qkv.size(0); ++b) {  // B and P can't be one axis of a view
    // [F, P, 3, N, D] -> q, k, v each [P, N, F, D]
    const at::Tensor apart = qkv[b].view({frames, positions, 3, heads, head_dim}).permute({2, 1, 3, 0, 4});
    const at::Tensor result = at::scaled_dot_product_attention(apart[0], apart[1], apart[2]);
    out[b].view({frames, positions, heads, head_dim}).copy_(result.permute({2, 0, 1, 3}));
  }
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options) {
  const OpScope op(q.size(1) == k.size(1) ? "attention" : "cross-attention", 4 * q.numel() * k.size(1),
                   (2 * q.numel() + k.numel() + v.numel()) * static_cast<int64_t>(q.element_size()));
  // Without data ATen would plan for its slow form, logits and all.
  if (q.is_meta()) return at::empty(q.sizes(), q.options());
  const at::Tensor heads_q = split_heads(q, options.heads), heads_k = split_heads(k, options.heads),
                   heads_v = split_heads(v, options.heads);
  const at::Tensor out =
      attention_of_heads({heads_q, heads_k, heads_v, options.bias, options.causal, options.scale});  // [B, N, Lq, D]
  return out.transpose(1, 2).reshape({q.size(0), q.size(1), q.size(2)});
}

at::Tensor frame_attention(const at::Tensor& qkv, int64_t heads) {
  const int64_t width = qkv.size(3) / 3;
  const int64_t size = qkv.numel() / 3;
  const OpScope op("frame attention", 4 * size * qkv.size(1), 4 * size * static_cast<int64_t>(qkv.element_size()));
  if (const auto* device = device_kernels_for(qkv)) {
    if (const auto out = device->frame_attention(qkv, heads)) return *out;
  }
  at::Tensor out = at::empty({qkv.size(0), qkv.size(1), qkv.size(2), width}, qkv.options());
  if (qkv.is_meta()) return out;
  if (!has_frame_kernel(qkv)) {
    frame_attention_aten(qkv, heads, out);
    return out;
  }
  const kernels::FrameAttentionShape shape{
      .batch = qkv.size(0), .frames = qkv.size(1), .positions = qkv.size(2), .heads = heads, .head_dim = width / heads};
  const float* from = qkv.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  parallel_for(shape.batch * shape.positions, /*grain=*/1,
               [&](int64_t first, int64_t last) { kernels::frame_attention_cpu(from, to, shape, first, last); });
  return out;
}

}  // namespace t2v::nn
