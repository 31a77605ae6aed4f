// SPDX-License-Identifier: Apache-2.0
// Attention layers and the pre-norm transformer block that image and video UNets share.
// diffusers 0.42 models/attention.py BasicTransformerBlock (norm_type layer_norm), attention_processor.py Attention,
// embeddings.py SinusoidalPositionalEmbedding.
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

#include "nn/feed_forward.hpp"
#include "nn/linear.hpp"
#include "nn/norm.hpp"
#include "tensor/weights.hpp"

namespace t2v::nn {

struct HeadOptions {
  int64_t width = 0;  // of the tokens
  int64_t heads = 1;
  int64_t head_dim = 0;   // heads * head_dim may differ from width
  bool has_bias = false;  // of q, k and v; the output projection always has one
};

struct SelfAttention {
  SelfAttention(const Weights& w, const HeadOptions& options);
  Tensor forward(const Tensor& x) const;  // [N, L, D]
  /// sum += forward(x), or with over_frames attention along F at each of P positions of x [B, F, P, D]
  void accumulate(Tensor& sum, const Tensor& x, bool over_frames = false) const;

  Linear to_qkv;  // to_q, to_k, to_v as one
  Linear to_out;  // to_out.0; diffusers has a Dropout at 1
  int64_t heads;

 private:
  Tensor attended(const Tensor& x, bool over_frames) const;
};

struct CrossAttention {
  CrossAttention(const Weights& w, const HeadOptions& options, int64_t cross_attention_dim);
  /// sum += attention of x [B*F, L, D] to context [B, Lc, Dc]: all frames of a video attend to the same text; or to
  /// [B*F, Lc, Dc]: each frame to its own.
  void accumulate(Tensor& sum, const Tensor& x, const Tensor& context) const;

  Linear to_q;
  Linear to_kv;  // to_k, to_v as one
  Linear to_out;
  int64_t heads;
};

struct TransformerBlockOptions {
  HeadOptions head;
  FeedForwardKind feed_forward = FeedForwardKind::geglu;
  /// What attn2 is: absent, a second self-attention, or cross-attention of this width.
  bool double_self_attention = false;
  std::optional<int64_t> cross_attention_dim = {};
  bool over_frames = false;                // tokens are [B, F, P, D] and attention runs along F
  std::optional<int64_t> max_frames = {};  // sinusoidal positions of so many frames are added before each attention
};

struct BasicTransformerBlock {
  BasicTransformerBlock(const Weights& w, const TransformerBlockOptions& options);
  /// x [N, L, D], or [B, F, P, D] with over_frames; context [B, Lc, Dc] where there is cross-attention. Works in x.
  Tensor forward(Tensor x, const std::optional<Tensor>& context = {}) const;
  /// From now on x lacks a constant `missing` [D], fp32: biases of layers that add to x stay out of it, so that each is
  /// a product that adds in place, and norms add what is missing so far. Gives what forward()'s result lacks.
  Tensor leave_out_biases(Tensor missing);

  LayerNorm norm1;
  SelfAttention attn1;
  std::optional<LayerNorm> norm2;
  std::optional<SelfAttention> attn2_self;
  std::optional<CrossAttention> attn2_cross;
  LayerNorm norm3;
  FeedForward ff;
  bool over_frames;
  std::optional<Tensor> positions;  // [L, 1, D]
};

}  // namespace t2v::nn
