// SPDX-License-Identifier: Apache-2.0
// The transformer layer of both CLIP encoders, text and vision. transformers 5.23 modeling_clip.py CLIPEncoderLayer.
#pragma once

#include <cstdint>
#include <optional>

#include <ATen/core/Tensor.h>

#include "nn/activation.hpp"
#include "nn/linear.hpp"
#include "nn/norm.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::text {

struct CLIPLayerOptions {
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t heads = 1;
  nn::Activation activation = nullptr;
  double layer_norm_eps = 1e-5;
};

struct CLIPEncoderLayer {
  CLIPEncoderLayer(const CLIPLayerOptions& options, const Weights& w);
  /// `bias`: added to the logits, broadcastable to [B, N, L, L]; `causal`: no token sees a later one.
  Tensor forward(const Tensor& x, const std::optional<Tensor>& bias, bool causal) const;  // [B, L, D]

  int64_t heads;
  nn::Activation activation;
  nn::LayerNorm layer_norm1;
  nn::Linear qkv, out_proj;
  nn::LayerNorm layer_norm2;
  nn::Linear fc1, fc2;
};

}  // namespace t2v::models::text
