// SPDX-License-Identifier: Apache-2.0
#include "models/text/clip_text.hpp"

#include <limits>
#include <string_view>

#include <ATen/ops/arange.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/full.h>
#include <ATen/ops/triu.h>
#include <ATen/ops/zeros.h>

#include "core/check.hpp"
#include "nn/activation.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::text {

namespace {

// Far beyond any published model, and small enough that no product of sizes overflows.
constexpr int64_t kMaxWidth = 1 << 16, kMaxLayers = 256, kMaxVocabulary = 1 << 24, kMaxPositions = 1 << 16;

// Configs written before transformers 4.31 carry this wrong id; the end token is then the largest
// id of the prompt.
constexpr int64_t kOldEosTokenId = 2;

/// Causal and without padding: [B, 1, L, L], 0 or -inf.
Tensor masked_bias(const Tensor& mask, int64_t length, c10::ScalarType dtype) {
  const double minus_infinity = -std::numeric_limits<double>::infinity();
  const auto options = mask.options().dtype(dtype);
  const Tensor causal = at::triu(at::full({length, length}, minus_infinity, options), 1);
  const Tensor padding = at::zeros(mask.sizes(), options).masked_fill(mask == 0, minus_infinity);
  return causal + padding.view({mask.size(0), 1, 1, length});
}

}  // namespace

CLIPTextConfig CLIPTextConfig::from(const io::Config& config) {
  CLIPTextConfig c;
  c.where = config.where();
  c.vocab_size = config.get_int("vocab_size", c.vocab_size, 1, kMaxVocabulary);
  c.hidden_size = config.get_int("hidden_size", c.hidden_size, 1, kMaxWidth);
  c.intermediate_size = config.get_int("intermediate_size", c.intermediate_size, 1, kMaxWidth);
  c.projection_dim = config.get_int("projection_dim", c.projection_dim, 0, kMaxWidth);
  c.num_hidden_layers = config.get_int("num_hidden_layers", c.num_hidden_layers, 1, kMaxLayers);
  c.num_attention_heads = config.get_int("num_attention_heads", c.num_attention_heads, 1, kMaxWidth);
  c.max_position_embeddings = config.get_int("max_position_embeddings", c.max_position_embeddings, 1, kMaxPositions);
  c.hidden_act = config.get_string("hidden_act", c.hidden_act);
  c.layer_norm_eps = config.get_double("layer_norm_eps", c.layer_norm_eps);
  c.eos_token_id = config.get_int("eos_token_id", c.eos_token_id);
  if (c.hidden_size % c.num_attention_heads != 0) {
    throw Error(ErrorCode::bad_input,
                "bad config: " + c.where + ": num_attention_heads: wanted a divisor of hidden_size " +
                    std::to_string(c.hidden_size) + ", got " + std::to_string(c.num_attention_heads));
  }
  return c;
}

CLIPTextModel::CLIPTextModel(const CLIPTextConfig& c, const Weights& w, bool with_projection)
    : config(c),
      token_embedding(w.at("embeddings.token_embedding"), c.vocab_size, c.hidden_size),
      position_embedding(w.at("embeddings.position_embedding"), c.max_position_embeddings, c.hidden_size),
      final_layer_norm(w.at("final_layer_norm"), c.hidden_size, c.layer_norm_eps) {
  const CLIPLayerOptions layer{.hidden_size = c.hidden_size,
                               .intermediate_size = c.intermediate_size,
                               .heads = c.num_attention_heads,
                               .activation = nn::activation(c.hidden_act, c.where + ": hidden_act"),
                               .layer_norm_eps = c.layer_norm_eps};
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    layers.emplace_back(layer, w.at("encoder.layers").at(i));
  }
  if (with_projection) {
    text_projection.emplace(w.at("text_projection"), c.hidden_size, c.projection_dim,
                            /*has_bias=*/false);
  }
}

Tensor CLIPTextModel::forward(const Tensor& ids, int64_t clip_skip, const std::optional<Tensor>& mask) const {
  const auto layer_count = static_cast<int64_t>(layers.size());
  if (clip_skip < 0 || clip_skip > layer_count) {
    throw Error(ErrorCode::usage, "clip_skip: wanted 0 to " + std::to_string(layer_count) +
                                      " for this text encoder, got " + std::to_string(clip_skip));
  }
  const int64_t length = ids.size(1);
  T2V_CHECK(length <= config.max_position_embeddings, "more tokens than positions");
  Tensor x = token_embedding.forward(ids) + position_embedding.weight.narrow(0, 0, length);  // [B, L, D]
  std::optional<Tensor> bias;
  if (mask) bias = masked_bias(*mask, length, x.scalar_type());
  for (int64_t i = 0; i < layer_count - clip_skip; ++i) {
    x = layers[static_cast<size_t>(i)].forward(x, bias, /*causal=*/!bias.has_value());
  }
  return final_layer_norm.forward(x);
}

Tensor CLIPTextModel::pooled(const Tensor& hidden, const Tensor& ids) const {
  const bool by_largest = config.eos_token_id == kOldEosTokenId;
  // argmax gives the first of equal values: the first end token where the padding is the same id.
  const Tensor marks = by_largest ? ids : (ids == config.eos_token_id).to(c10::kLong);
  const Tensor at_end = at::argmax(marks, /*dim=*/1);  // [B]
  const Tensor index = at_end.view({-1, 1, 1}).expand({-1, 1, hidden.size(2)});
  const Tensor state = hidden.gather(1, index).squeeze(1);  // [B, D]
  return text_projection ? text_projection->forward(state) : state;
}

std::string clip_name(const std::string& stored) {
  constexpr std::string_view kPrefix = "text_model.";
  const std::string name = stored.starts_with(kPrefix) ? stored.substr(kPrefix.size()) : stored;
  return name == "embeddings.position_ids" ? std::string() : name;
}

}  // namespace t2v::models::text
