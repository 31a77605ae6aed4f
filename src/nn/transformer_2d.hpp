// SPDX-License-Identifier: Apache-2.0
// Transformers inside UNets: over the pixels of a frame, and over the frames of a pixel.
// diffusers 0.42 models/transformers/transformer_2d.py Transformer2DModel (continuous input),
// transformer_temporal.py TransformerTemporalModel (double self-attention, no positional embedding) and, with
// max_frames, models/unets/unet_motion_model.py AnimateDiffTransformer3D.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/linear.hpp"
#include "nn/norm.hpp"
#include "nn/transformer_block.hpp"
#include "tensor/weights.hpp"

namespace t2v::nn {

struct Transformer2DOptions {
  int64_t in_channels = 0;
  int64_t heads = 1;
  int64_t head_dim = 0;
  int64_t layers = 1;
  int64_t groups = 32;
  std::optional<int64_t> cross_attention_dim = {};
  bool attention_bias = false;
};

struct Transformer2DModel {
  Transformer2DModel(const Weights& w, const Transformer2DOptions& options);
  /// x [B*F, C, H, W], context [B, L, D]; same shape as x out
  Tensor forward(const Tensor& x, const std::optional<Tensor>& context) const;

  GroupNorm norm;  // per frame
  // Linear in the files of use_linear_projection models, a 1x1 convolution in others: the same numbers.
  Linear proj_in;
  std::vector<BasicTransformerBlock> transformer_blocks;
  Linear proj_out;
};

struct TransformerTemporalOptions {
  int64_t in_channels = 0;
  int64_t heads = 1;
  int64_t head_dim = 0;
  int64_t layers = 1;
  int64_t groups = 32;
  std::optional<int64_t> max_frames = {};  // with sinusoidal positions; no more frames can be seen at once
};

struct TransformerTemporalModel {
  TransformerTemporalModel(const Weights& w, const TransformerTemporalOptions& options);
  Tensor forward(const Tensor& x, int64_t frames) const;  // [B*F, C, H, W], same shape out

  GroupNorm norm;  // statistics over all frames
  Linear proj_in;
  std::vector<BasicTransformerBlock> transformer_blocks;
  Linear proj_out;
};

}  // namespace t2v::nn
