// SPDX-License-Identifier: Apache-2.0
#include "models/vision/clip_vision.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include "core/check.hpp"
#include "nn/activation.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::vision {

namespace {

// Far beyond any published model, and small enough that no product of sizes overflows.
constexpr int64_t kMaxWidth = 1 << 16, kMaxLayers = 256, kMaxSide = 8192, kMaxChannels = 1024;

[[noreturn]] void refuse(const CLIPVisionConfig& c, const std::string& key, const std::string& wanted,
                         const std::string& got) {
  throw Error(ErrorCode::bad_input, "bad config: " + c.where + ": " + key + ": wanted " + wanted + ", got " + got);
}

/// [B, C, H, W] -> [B, n, C*p*p], row by row; columns and rows that fill no patch are left out, as by the convolution.
Tensor patches_of(const Tensor& pixels, int64_t patch, int64_t a_side) {
  return pixels.narrow(2, 0, a_side * patch)
      .narrow(3, 0, a_side * patch)
      .reshape({pixels.size(0), pixels.size(1), a_side, patch, a_side, patch})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({pixels.size(0), a_side * a_side, pixels.size(1) * patch * patch});
}

std::vector<text::CLIPEncoderLayer> encoder_layers(const CLIPVisionConfig& c, const Weights& w) {
  const text::CLIPLayerOptions options{.hidden_size = c.hidden_size,
                                       .intermediate_size = c.intermediate_size,
                                       .heads = c.num_attention_heads,
                                       .activation = nn::activation(c.hidden_act, c.where + ": hidden_act"),
                                       .layer_norm_eps = c.layer_norm_eps};
  std::vector<text::CLIPEncoderLayer> layers;
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    layers.emplace_back(options, w.at(i));
  }
  return layers;
}

}  // namespace

CLIPVisionConfig CLIPVisionConfig::from(const io::Config& config) {
  CLIPVisionConfig c;
  c.where = config.where();
  c.hidden_size = config.get_int("hidden_size", c.hidden_size, 1, kMaxWidth);
  c.intermediate_size = config.get_int("intermediate_size", c.intermediate_size, 1, kMaxWidth);
  c.projection_dim = config.get_int("projection_dim", c.projection_dim, 1, kMaxWidth);
  c.num_hidden_layers = config.get_int("num_hidden_layers", c.num_hidden_layers, 1, kMaxLayers);
  c.num_attention_heads = config.get_int("num_attention_heads", c.num_attention_heads, 1, kMaxWidth);
  c.num_channels = config.get_int("num_channels", c.num_channels, 1, kMaxChannels);
  c.image_size = config.get_int("image_size", c.image_size, 1, kMaxSide);
  c.patch_size = config.get_int("patch_size", c.patch_size, 1, kMaxSide);
  c.hidden_act = config.get_string("hidden_act", c.hidden_act);
  c.layer_norm_eps = config.get_double("layer_norm_eps", c.layer_norm_eps);
  nn::activation(c.hidden_act, c.where + ": hidden_act");
  if (c.hidden_size % c.num_attention_heads != 0) {
    refuse(c, "num_attention_heads", "a divisor of hidden_size " + std::to_string(c.hidden_size),
           std::to_string(c.num_attention_heads));
  }
  if (c.patch_size > c.image_size) {
    refuse(c, "patch_size", "at most image_size " + std::to_string(c.image_size), std::to_string(c.patch_size));
  }
  return c;
}

CLIPVisionModel::CLIPVisionModel(const CLIPVisionConfig& c, const Weights& w)
    : config(c),
      class_embedding(w.take("vision_model.embeddings.class_embedding", {c.hidden_size})),
      patch_embedding(w.take("vision_model.embeddings.patch_embedding.weight",
                             {c.hidden_size, c.num_channels, c.patch_size, c.patch_size})
                          .reshape({c.hidden_size, -1})),
      position_embedding(w.take("vision_model.embeddings.position_embedding.weight",
                                {1 + c.patches_a_side() * c.patches_a_side(), c.hidden_size})),
      pre_layrnorm(w.at("vision_model.pre_layrnorm"), c.hidden_size, c.layer_norm_eps),
      layers(encoder_layers(c, w.at("vision_model.encoder.layers"))),
      post_layernorm(w.at("vision_model.post_layernorm"), c.hidden_size, c.layer_norm_eps),
      visual_projection(w.at("visual_projection"), c.hidden_size, c.projection_dim, /*has_bias=*/false) {}

Tensor CLIPVisionModel::forward(const Tensor& pixels, int64_t skip) const {
  const int64_t batch = pixels.size(0), layer_count = static_cast<int64_t>(layers.size());
  T2V_CHECK(skip >= 0 && skip <= layer_count, "more layers left out than there are");
  const Tensor patches = nn::product(patches_of(pixels, config.patch_size, config.patches_a_side()), patch_embedding);
  const Tensor tokens = at::cat({class_embedding.expand({batch, 1, config.hidden_size}), patches}, 1);
  Tensor x = pre_layrnorm.forward(tokens + position_embedding);  // [B, 1 + n, D]
  for (int64_t i = 0; i < layer_count - skip; ++i) {
    x = layers[static_cast<size_t>(i)].forward(x, {}, /*causal=*/false);
  }
  return x;
}

Tensor CLIPVisionModel::image_embeds(const Tensor& pixels) const {
  return visual_projection.forward(post_layernorm.forward(forward(pixels).select(1, 0)));
}

std::string vision_name(const std::string& stored) {
  const bool has_prefix = stored.starts_with("vision_model.") || stored.starts_with("visual_projection.");
  const std::string name = has_prefix ? stored : "vision_model." + stored;
  return name == "vision_model.embeddings.position_ids" ? std::string() : name;
}

std::unique_ptr<CLIPVisionModel> load(const io::Component& component, const Placement& placement) {
  WeightStore store(component.weights(), placement, vision_name);
  auto network = std::make_unique<CLIPVisionModel>(CLIPVisionConfig::from(component.config()), store.root());
  store.expect_all_taken();
  return network;
}

ImageNormalisation ImageNormalisation::from(const io::Config& config) {
  ImageNormalisation n;
  n.mean = config.get_doubles("image_mean", n.mean);
  n.std = config.get_doubles("image_std", n.std);
  const auto check = [&](std::string_view key, const std::vector<double>& values, bool divides) {
    const bool is_good = values.size() == 3 && std::ranges::all_of(values, [&](double value) {
                           return std::isfinite(value) && (!divides || value > 0);
                         });
    if (!is_good) {
      throw Error(ErrorCode::bad_input, "bad config: " + config.where() + ": " + std::string(key) + ": wanted three " +
                                            (divides ? "positive " : "") + "numbers");
    }
  };
  check("image_mean", n.mean, false);
  check("image_std", n.std, true);
  return n;
}

Tensor ImageNormalisation::forward(const Tensor& image) const {
  const auto column = [&](const std::vector<double>& values) {
    return at::tensor(std::vector<float>(values.begin(), values.end())).view({1, 3, 1, 1}).to(image.device());
  };
  return (image - column(mean)) / column(std);
}

}  // namespace t2v::models::vision
