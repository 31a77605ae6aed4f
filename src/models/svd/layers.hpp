// SPDX-License-Identifier: Apache-2.0
// The transformer of Stable Video Diffusion (arXiv 2311.15127): over the pixels of a frame, then over the frames of a
// pixel, blended. diffusers 0.42 models/transformers/transformer_temporal.py TransformerSpatioTemporalModel, with
// BasicTransformerBlock and TemporalBasicTransformerBlock of models/attention.py.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/feed_forward.hpp"
#include "nn/linear.hpp"
#include "nn/norm.hpp"
#include "nn/time_embedding.hpp"
#include "nn/transformer_block.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::svd {

using at::Tensor;

constexpr int64_t kGroups = 32;  // of every GroupNorm: the class has no key for it

/// Cross-attention whose context is one token. A softmax over one key is 1, so the result is to_out(to_v(token))
/// whatever the query: at load the two products become one matrix, and query, key and norm only get their shapes
/// checked.
struct SingleTokenAttention {
  SingleTokenAttention(const Weights& attention, const Weights& norm, const nn::HeadOptions& head, int64_t context_dim);
  Tensor forward(const Tensor& token) const;  // [B, 1, Dc] -> [B, 1, D]
  int64_t folded_elements() const;            ///< of the file's that are not kept
  /// For constructors: forward() gives `constant` [D], fp32, on top from now on.
  void add(const Tensor& constant);

  Tensor weight;  // [D, Dc] to_out.0 times to_v
  Tensor bias;    // [D]
};

/// x + feed_forward(norm(x)), a slice of tokens at a time: all at once the hidden layer is the largest tensor of the
/// whole network. Works in x.
struct FeedForwardStep {
  FeedForwardStep(const Weights& norm, const Weights& ff, int64_t width);
  Tensor forward(const Tensor& x) const;  // [..., D]
  /// As that of nn::BasicTransformerBlock, here and in the blocks below.
  Tensor leave_out_biases(const Tensor& missing);

  nn::LayerNorm norm;
  nn::FeedForward ff;
};

struct SpatialBlock {
  SpatialBlock(const Weights& w, const nn::HeadOptions& head, int64_t context_dim);
  /// x [B*F, H*W, D], token [B, 1, Dc]. Works in x.
  Tensor forward(Tensor x, const Tensor& token) const;
  Tensor leave_out_biases(const Tensor& missing);

  nn::LayerNorm norm1;
  nn::SelfAttention attn1;
  SingleTokenAttention attn2;
  FeedForwardStep ff;
  std::optional<Tensor> missing_behind;  // [D], what the result lacks
};

struct TemporalBlock {
  TemporalBlock(const Weights& w, const nn::HeadOptions& head, int64_t context_dim);
  /// x [B, F, H*W, D], token [B, 1, Dc]. Works in x.
  Tensor forward(Tensor x, const Tensor& token) const;
  Tensor leave_out_biases();

  FeedForwardStep ff_in;
  nn::LayerNorm norm1;
  nn::SelfAttention attn1;
  SingleTokenAttention attn2;
  FeedForwardStep ff;
};

struct TransformerSpatioTemporalModel {
  struct Options {
    int64_t in_channels = 0;
    int64_t heads = 1;
    int64_t layers = 1;
    int64_t cross_attention_dim = 0;
  };
  TransformerSpatioTemporalModel(const Weights& w, const Options& options);
  /// x [B*F, C, H, W], token [B, 1, Dc], of each video; same shape as x out
  Tensor forward(const Tensor& x, const Tensor& token, int64_t frames) const;

  nn::GroupNorm norm;  // per frame
  nn::Linear proj_in;
  std::vector<SpatialBlock> transformer_blocks;
  std::vector<TemporalBlock> temporal_transformer_blocks;
  nn::TimestepEmbedding time_pos_embed;
  double spatial_share;  // time_mixer
  nn::Linear proj_out;

 private:
  void leave_out_biases();
};

}  // namespace t2v::models::svd
