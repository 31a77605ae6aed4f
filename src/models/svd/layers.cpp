// SPDX-License-Identifier: Apache-2.0
#include "models/svd/layers.hpp"

#include <algorithm>

#include <ATen/ops/lerp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros_like.h>

#include "nn/layout.hpp"
#include "nn/spatio_temporal_resnet.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::svd {

namespace {

constexpr double kLayerNormEps = 1e-5, kGroupNormEps = 1e-6;
constexpr int64_t kSliceTokens = 32768;  // of a feed-forward: 340 MB of hidden layer at a width of 320

nn::HeadOptions head_options(const TransformerSpatioTemporalModel::Options& o) {
  return {.width = o.in_channels, .heads = o.heads, .head_dim = o.in_channels / o.heads};
}

}  // namespace

SingleTokenAttention::SingleTokenAttention(const Weights& attention, const Weights& norm, const nn::HeadOptions& head,
                                           int64_t context_dim)
    : bias(attention.take("to_out.0.bias", {head.width})) {
  const nn::LayerNorm unused_norm(norm, head.width, kLayerNormEps);
  attention.take("to_q.weight", {head.width, head.width});
  attention.take("to_k.weight", {head.width, context_dim});
  const Tensor value = attention.take("to_v.weight", {head.width, context_dim});
  const Tensor out = attention.take("to_out.0.weight", {head.width, head.width});
  weight = at::matmul(out.to(at::kFloat), value.to(at::kFloat)).to(out.scalar_type());
}

Tensor SingleTokenAttention::forward(const Tensor& token) const { return nn::product(token, weight, bias); }

int64_t SingleTokenAttention::folded_elements() const {
  const int64_t width = weight.size(0), context = weight.size(1);
  return 2 * width * width + width * context + 2 * width;  // norm, query and key, and one of the two products
}

void SingleTokenAttention::add(const Tensor& constant) { bias = (bias + constant).to(bias.scalar_type()); }

FeedForwardStep::FeedForwardStep(const Weights& norm_weights, const Weights& ff_weights, int64_t width)
    : norm(norm_weights, width, kLayerNormEps), ff(ff_weights, {.width = width}) {}

Tensor FeedForwardStep::forward(const Tensor& x) const {
  const Tensor tokens = x.view({-1, x.size(-1)});
  for (int64_t first = 0; first < tokens.size(0); first += kSliceTokens) {
    Tensor slice = tokens.narrow(0, first, std::min(kSliceTokens, tokens.size(0) - first));
    ff.accumulate(slice, norm.forward(slice));
  }
  return x;
}

Tensor FeedForwardStep::leave_out_biases(const Tensor& missing) {
  norm.add_first(missing);
  return missing + ff.project_out.release_bias();
}

SpatialBlock::SpatialBlock(const Weights& w, const nn::HeadOptions& head, int64_t context_dim)
    : norm1(w.at("norm1"), head.width, kLayerNormEps),
      attn1(w.at("attn1"), head),
      attn2(w.at("attn2"), w.at("norm2"), head, context_dim),
      ff(w.at("norm3"), w.at("ff"), head.width) {}

Tensor SpatialBlock::forward(Tensor x, const Tensor& token) const {
  attn1.accumulate(x, norm1.forward(x), /*over_frames=*/false);
  const Tensor added = attn2.forward(token);  // [B, 1, D], the same for all frames and pixels of a video
  x.view({added.size(0), -1, x.size(2)}).add_(added);
  return ff.forward(x);
}

// attn2 adds to all tokens anyway, with no norm between attn1 and it.
Tensor SpatialBlock::leave_out_biases(const Tensor& missing) {
  norm1.add_first(missing);
  attn2.add(attn1.to_out.release_bias());
  const Tensor behind = ff.leave_out_biases(missing);
  missing_behind = behind.to(norm1.weight.scalar_type());
  return behind;
}

TemporalBlock::TemporalBlock(const Weights& w, const nn::HeadOptions& head, int64_t context_dim)
    : ff_in(w.at("norm_in"), w.at("ff_in"), head.width),
      norm1(w.at("norm1"), head.width, kLayerNormEps),
      attn1(w.at("attn1"), head),
      attn2(w.at("attn2"), w.at("norm2"), head, context_dim),
      ff(w.at("norm3"), w.at("ff"), head.width) {}

Tensor TemporalBlock::forward(Tensor x, const Tensor& token) const {
  ff_in.forward(x);
  attn1.accumulate(x, norm1.forward(x), /*over_frames=*/true);
  x.add_(attn2.forward(token).unsqueeze(1));  // [B, 1, 1, D]
  return ff.forward(x);
}

// What comes in lacks nothing.
Tensor TemporalBlock::leave_out_biases() {
  const Tensor of_ff_in = ff_in.ff.project_out.release_bias();
  norm1.add_first(of_ff_in);
  attn2.add(of_ff_in + attn1.to_out.release_bias());
  return ff.ff.project_out.release_bias();
}

TransformerSpatioTemporalModel::TransformerSpatioTemporalModel(const Weights& w, const Options& o)
    : norm(w.at("norm"), kGroups, o.in_channels, kGroupNormEps),
      proj_in(w.at("proj_in"), o.in_channels, o.in_channels),
      time_pos_embed(w.at("time_pos_embed"), {.in_channels = o.in_channels,
                                              .time_embed_dim = 4 * o.in_channels,
                                              .activation = at::silu,
                                              .out_dim = o.in_channels}),
      spatial_share(nn::mix_share(w.at("time_mixer"))),
      proj_out(w.at("proj_out"), o.in_channels, o.in_channels) {
  for (int64_t i = 0; i < o.layers; ++i) {
    transformer_blocks.emplace_back(w.at("transformer_blocks").at(i), head_options(o), o.cross_attention_dim);
    temporal_transformer_blocks.emplace_back(w.at("temporal_transformer_blocks").at(i), head_options(o),
                                             o.cross_attention_dim);
  }
  if (o.layers > 0 && transformer_blocks.front().norm1.adds_first_for_nothing()) leave_out_biases();
}

void TransformerSpatioTemporalModel::leave_out_biases() {
  Tensor missing = at::zeros_like(transformer_blocks.front().norm1.weight, at::kFloat);  // in the tokens
  for (size_t i = 0; i < transformer_blocks.size(); ++i) {
    const Tensor of_spatial = transformer_blocks[i].leave_out_biases(missing);
    missing = at::lerp(temporal_transformer_blocks[i].leave_out_biases(), of_spatial, spatial_share);
  }
  proj_out.absorb(missing);
}

Tensor TransformerSpatioTemporalModel::forward(const Tensor& x, const Tensor& token, int64_t frames) const {
  const Tensor sinusoids = nn::frame_positions(frames, {.channels = x.size(1)}, x.device());
  const Tensor position = time_pos_embed.forward(sinusoids.to(x.scalar_type())).unsqueeze(1);  // [F, 1, D]

  Tensor tokens = proj_in.forward(nn::to_tokens(norm.forward(x)));  // [B*F, H*W, D]
  for (size_t i = 0; i < transformer_blocks.size(); ++i) {
    tokens = transformer_blocks[i].forward(tokens, token);
    const Tensor spatial = tokens.unflatten(0, {token.size(0), frames});  // [B, F, H*W, D]
    const auto& missing = transformer_blocks[i].missing_behind;
    Tensor temporal =
        temporal_transformer_blocks[i].forward(spatial + (missing ? position + *missing : position), token);
    tokens = temporal.lerp_(spatial, spatial_share).flatten(0, 1);
  }
  return nn::from_tokens(proj_out.forward(tokens), x).add_(x);
}

}  // namespace t2v::models::svd
