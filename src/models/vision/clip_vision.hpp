// SPDX-License-Identifier: Apache-2.0
// CLIP's image encoder (Radford et al. 2021, arXiv 2103.00020): a transformer over the patches of an image.
// transformers 5.23 models/clip/modeling_clip.py CLIPVisionModelWithProjection.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/checkpoint.hpp"
#include "io/config.hpp"
#include "models/text/clip_layer.hpp"
#include "nn/linear.hpp"
#include "nn/norm.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::vision {

/// Keys and defaults of transformers' CLIPVisionConfig.
struct CLIPVisionConfig {
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t projection_dim = 512;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t num_channels = 3;
  int64_t image_size = 224;
  int64_t patch_size = 32;
  std::string hidden_act = "quick_gelu";
  double layer_norm_eps = 1e-5;
  std::string where;  // file name for messages

  int64_t patches_a_side() const { return image_size / patch_size; }

  static CLIPVisionConfig from(const io::Config& config);
};

/// Immutable after construction; calls may run at the same time.
struct CLIPVisionModel {
  /// `w` is where `vision_model` and `visual_projection` are (see vision_name).
  CLIPVisionModel(const CLIPVisionConfig& config, const Weights& w);

  /// pixels [B, 3, image_size, image_size], normalised -> the class token and the patches [B, 1 + n, D] after all
  /// layers but the last `skip`; no norm behind them.
  Tensor forward(const Tensor& pixels, int64_t skip = 0) const;
  /// The class token of forward(pixels), normalised and projected: [B, projection_dim]
  Tensor image_embeds(const Tensor& pixels) const;

  CLIPVisionConfig config;
  Tensor class_embedding;      // [D]
  Tensor patch_embedding;      // [D, C*p*p]: a convolution whose windows do not overlap
  Tensor position_embedding;   // [1 + n, D]
  nn::LayerNorm pre_layrnorm;  // spelled so in the files
  std::vector<text::CLIPEncoderLayer> layers;
  nn::LayerNorm post_layernorm;
  nn::Linear visual_projection;
};

/// WeightStore's rename: adds the prefix `vision_model.` where a file lacks it (transformers 5 saves without) and drops
/// the buffer position_ids.
std::string vision_name(const std::string& stored);

/// Reads config and weights. Error{bad_input} for missing, misshaped and unused tensors.
std::unique_ptr<CLIPVisionModel> load(const io::Component& component, const Placement& placement);

/// The normalisation of preprocessor_config.json: (x - mean) / std for each of the three channels.
struct ImageNormalisation {
  std::vector<double> mean{0.48145466, 0.4578275, 0.40821073};
  std::vector<double> std{0.26862954, 0.26130258, 0.27577711};

  static ImageNormalisation from(const io::Config& config);
  Tensor forward(const Tensor& image) const;  // [B, 3, H, W] fp32 in [0, 1]
};

}  // namespace t2v::models::vision
