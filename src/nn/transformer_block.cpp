// SPDX-License-Identifier: Apache-2.0
#include "nn/transformer_block.hpp"

#include <cmath>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/stack.h>

#include "nn/attention.hpp"
#include "nn/context_keys.hpp"
#include "tensor/operators.hpp"

namespace t2v::nn {

namespace {

constexpr double kLayerNormEps = 1e-5;

/// Part `index` of `count` equal ones that lie side by side on the last axis.
Tensor part(const Tensor& fused, int64_t index, int64_t count) {
  const int64_t width = fused.size(-1) / count;
  return fused.narrow(-1, index * width, width);
}

/// Sine and cosine by turns, one row a frame: [L, 1, D], like `like`.
Tensor sinusoidal_positions(int64_t length, int64_t width, const Tensor& like) {
  if (like.is_meta()) return at::empty({length, 1, width}, like.options());
  constexpr double kMaxPeriod = 10000.0;
  const auto fp32 = at::TensorOptions().dtype(at::kFloat).device(like.device());
  const Tensor rate = at::exp(at::arange(0, width, 2, fp32) * (-std::log(kMaxPeriod) / static_cast<double>(width)));
  const Tensor phase = at::arange(length, fp32).unsqueeze(1) * rate;  // [L, D/2]
  return at::stack({at::sin(phase), at::cos(phase)}, -1).view({length, 1, width}).to(like.scalar_type());
}

}  // namespace

SelfAttention::SelfAttention(const Weights& w, const HeadOptions& o)
    : to_qkv(Linear::fused({w.at("to_q"), w.at("to_k"), w.at("to_v")}, o.width,
                           std::vector<int64_t>(3, o.heads * o.head_dim), o.has_bias)),
      to_out(w.at("to_out.0"), o.heads * o.head_dim, o.width),
      heads(o.heads) {}

Tensor SelfAttention::attended(const Tensor& x, bool over_frames) const {
  const Tensor qkv = to_qkv.forward(x);
  return over_frames ? frame_attention(qkv, heads)
                     : attention(part(qkv, 0, 3), part(qkv, 1, 3), part(qkv, 2, 3), {.heads = heads});
}

Tensor SelfAttention::forward(const Tensor& x) const { return to_out.forward(attended(x, /*over_frames=*/false)); }

void SelfAttention::accumulate(Tensor& sum, const Tensor& x, bool over_frames) const {
  to_out.accumulate(sum, attended(x, over_frames));
}

CrossAttention::CrossAttention(const Weights& w, const HeadOptions& o, int64_t cross_attention_dim)
    : to_q(w.at("to_q"), o.width, o.heads * o.head_dim, o.has_bias),
      to_kv(Linear::fused({w.at("to_k"), w.at("to_v")}, cross_attention_dim,
                          std::vector<int64_t>(2, o.heads * o.head_dim), o.has_bias)),
      to_out(w.at("to_out.0"), o.heads * o.head_dim, o.width),
      heads(o.heads) {}

void CrossAttention::accumulate(Tensor& sum, const Tensor& x, const Tensor& context) const {
  const Tensor kv = ContextKeys::of(this, context, [&] { return to_kv.forward(context); });
  // The frames of one video lie one after the other, so they are one long list of queries for its text.
  const Tensor q = to_q.forward(x).view({context.size(0), -1, kv.size(-1) / 2});
  const Tensor out = attention(q, part(kv, 0, 2), part(kv, 1, 2), {.heads = heads});
  to_out.accumulate(sum, out.view({x.size(0), x.size(1), out.size(-1)}));
}

BasicTransformerBlock::BasicTransformerBlock(const Weights& w, const TransformerBlockOptions& o)
    : norm1(w.at("norm1"), o.head.width, kLayerNormEps),
      attn1(w.at("attn1"), o.head),
      norm3(w.at("norm3"), o.head.width, kLayerNormEps),
      ff(w.at("ff"), {.width = o.head.width, .kind = o.feed_forward}),
      over_frames(o.over_frames) {
  if (o.double_self_attention) {
    norm2.emplace(w.at("norm2"), o.head.width, kLayerNormEps);
    attn2_self.emplace(w.at("attn2"), o.head);
  } else if (o.cross_attention_dim) {
    norm2.emplace(w.at("norm2"), o.head.width, kLayerNormEps);
    attn2_cross.emplace(w.at("attn2"), o.head, *o.cross_attention_dim);
  }
  if (o.max_frames) {
    const auto stored = w.take_buffer("pos_embed.pe", {1, *o.max_frames, o.head.width});
    positions = stored ? stored->view({*o.max_frames, 1, o.head.width})
                       : sinusoidal_positions(*o.max_frames, o.head.width, norm1.weight);
  }
}

Tensor BasicTransformerBlock::leave_out_biases(Tensor missing) {
  norm1.add_first(missing);
  missing = missing + attn1.to_out.release_bias();
  if (norm2) {
    norm2->add_first(missing);
    missing = missing + (attn2_self ? attn2_self->to_out : attn2_cross->to_out).release_bias();
  }
  norm3.add_first(missing);
  return missing + ff.project_out.release_bias();
}

Tensor BasicTransformerBlock::forward(Tensor x, const std::optional<Tensor>& context) const {
  const auto here = positions ? std::optional(positions->narrow(0, 0, x.size(1))) : std::nullopt;  // [F, 1, D]
  attn1.accumulate(x, norm1.forward(x, here), over_frames);
  if (attn2_self) {
    attn2_self->accumulate(x, norm2->forward(x, here), over_frames);
  } else if (attn2_cross) {
    attn2_cross->accumulate(x, norm2->forward(x), context.value());
  }
  ff.accumulate(x, norm3.forward(x));
  return x;
}

}  // namespace t2v::nn
