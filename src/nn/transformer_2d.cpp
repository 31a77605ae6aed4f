// SPDX-License-Identifier: Apache-2.0
#include "nn/transformer_2d.hpp"

#include <ATen/ops/zeros_like.h>

#include "nn/layout.hpp"

namespace t2v::nn {

namespace {

constexpr double kGroupNormEps = 1e-6;

/// Where norms add a constant for nothing, the biases that blocks would add to the tokens reach `reader`, the layer
/// that reads them in the end, by its own bias.
void leave_out_biases(std::vector<BasicTransformerBlock>& blocks, Linear& reader) {
  if (blocks.empty() || !blocks.front().norm1.adds_first_for_nothing()) return;
  Tensor missing = at::zeros_like(blocks.front().norm1.weight, at::kFloat);
  for (auto& block : blocks) missing = block.leave_out_biases(missing);
  reader.absorb(missing);
}

}  // namespace

Transformer2DModel::Transformer2DModel(const Weights& w, const Transformer2DOptions& o)
    : norm(w.at("norm"), o.groups, o.in_channels, kGroupNormEps),
      proj_in(w.at("proj_in"), o.in_channels, o.heads * o.head_dim),
      proj_out(w.at("proj_out"), o.heads * o.head_dim, o.in_channels) {
  for (int64_t i = 0; i < o.layers; ++i) {
    transformer_blocks.emplace_back(w.at("transformer_blocks").at(i),
                                    TransformerBlockOptions{.head = {.width = o.heads * o.head_dim,
                                                                     .heads = o.heads,
                                                                     .head_dim = o.head_dim,
                                                                     .has_bias = o.attention_bias},
                                                            .cross_attention_dim = o.cross_attention_dim});
  }
  leave_out_biases(transformer_blocks, proj_out);
}

Tensor Transformer2DModel::forward(const Tensor& x, const std::optional<Tensor>& context) const {
  Tensor tokens = proj_in.forward(to_tokens(norm.forward(x)));  // [B*F, H*W, D]
  for (const auto& block : transformer_blocks) {
    tokens = block.forward(tokens, context);
  }
  return from_tokens(proj_out.forward_added(tokens, to_tokens(x)), x);
}

TransformerTemporalModel::TransformerTemporalModel(const Weights& w, const TransformerTemporalOptions& o)
    : norm(w.at("norm"), o.groups, o.in_channels, kGroupNormEps),
      proj_in(w.at("proj_in"), o.in_channels, o.heads * o.head_dim),
      proj_out(w.at("proj_out"), o.heads * o.head_dim, o.in_channels) {
  for (int64_t i = 0; i < o.layers; ++i) {
    transformer_blocks.emplace_back(
        w.at("transformer_blocks").at(i),
        TransformerBlockOptions{.head = {.width = o.heads * o.head_dim, .heads = o.heads, .head_dim = o.head_dim},
                                .double_self_attention = true,
                                .over_frames = true,
                                .max_frames = o.max_frames});
  }
  leave_out_biases(transformer_blocks, proj_out);
}

Tensor TransformerTemporalModel::forward(const Tensor& x, int64_t frames) const {
  const Tensor rows = norm.forward(frames_as_rows(x, frames));  // [B, C, F, H*W]
  Tensor tokens = proj_in.forward(rows.permute({0, 2, 3, 1}));  // [B, F, H*W, D]
  for (const auto& block : transformer_blocks) {
    tokens = block.forward(tokens);
  }
  const Tensor residual = to_tokens(x).view({tokens.size(0), tokens.size(1), tokens.size(2), x.size(1)});
  return from_tokens(proj_out.forward_added(tokens, residual), x);
}

}  // namespace t2v::nn
