// SPDX-License-Identifier: Apache-2.0
// CLIP's text encoder (Radford et al. 2021, arXiv 2103.00020): a causal transformer over token ids.
// Serves CLIP ViT-L/14 (12 layers, quick_gelu), OpenCLIP ViT-H/14 cut to 23 layers (gelu) and bigG.
// transformers 5.23 models/clip/modeling_clip.py CLIPTextModel, CLIPTextModelWithProjection.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/config.hpp"
#include "models/text/clip_layer.hpp"
#include "nn/embedding.hpp"
#include "nn/linear.hpp"
#include "nn/norm.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::text {

/// Keys and defaults of transformers' CLIPTextConfig.
struct CLIPTextConfig {
  int64_t vocab_size = 49408;
  int64_t hidden_size = 512;
  int64_t intermediate_size = 2048;
  int64_t projection_dim = 512;  // used by the class with projection only
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 8;
  int64_t max_position_embeddings = 77;
  std::string hidden_act = "quick_gelu";
  double layer_norm_eps = 1e-5;
  int64_t eos_token_id = 49407;
  std::string where;  // file name for messages

  static CLIPTextConfig from(const io::Config& config);
};

/// Immutable after construction; calls may run at the same time.
struct CLIPTextModel {
  /// `w` is where `embeddings` and `encoder` are; names come without `text_model.` (see clip_name).
  CLIPTextModel(const CLIPTextConfig& config, const Weights& w, bool with_projection = false);

  /// ids [B, L] int64, each < vocab_size, L <= max_position_embeddings -> hidden states [B, L, D]
  /// after final_layer_norm. clip_skip as in diffusers: the states `clip_skip` layers before the
  /// last, 0 = the last. `mask` [B, L], 1 = a real token: padding is not attended when given.
  /// Throws Error{usage} on a clip_skip too large.
  Tensor forward(const Tensor& ids, int64_t clip_skip = 0, const std::optional<Tensor>& mask = std::nullopt) const;
  /// The state at each end token, projected if the class says so: hidden [B, L, D], ids [B, L] ->
  /// [B, D or projection].
  Tensor pooled(const Tensor& hidden, const Tensor& ids) const;

  CLIPTextConfig config;
  nn::Embedding token_embedding, position_embedding;
  std::vector<CLIPEncoderLayer> layers;
  nn::LayerNorm final_layer_norm;
  std::optional<nn::Linear> text_projection;
};

/// WeightStore's rename: takes the prefix `text_model.` off (transformers 5 saves without, older
/// ones with) and drops the buffer position_ids.
std::string clip_name(const std::string& stored);

}  // namespace t2v::models::text
