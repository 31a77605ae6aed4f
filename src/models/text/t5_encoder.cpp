// SPDX-License-Identifier: Apache-2.0
#include "models/text/t5_encoder.hpp"

#include <cmath>
#include <limits>
#include <string_view>

#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/log.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "nn/attention.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::text {

namespace {

// Far beyond any published model, and small enough that no product of sizes overflows.
constexpr int64_t kMaxWidth = 1 << 16, kMaxLayers = 256, kMaxVocabulary = 1 << 24, kMaxBuckets = 1 << 12;

/// "relu" or "gated-gelu" -> activation and gate. The gated "gelu" of T5 v1.1 is the tanh form.
void read_feed_forward(const io::Config& config, T5Config& c) {
  const std::string fallback = c.is_gated_act ? "gated-" + c.dense_act_fn : c.dense_act_fn;
  const std::string name = config.get_string("feed_forward_proj", fallback);
  constexpr std::string_view kGated = "gated-";
  c.is_gated_act = name.starts_with(kGated);
  c.dense_act_fn = c.is_gated_act ? name.substr(kGated.size()) : name;
  if (name == "gated-gelu") c.dense_act_fn = "gelu_new";
}

nn::Embedding shared_embedding(const T5Config& c, const Weights& w) {
  return nn::Embedding(w.at("shared"), c.vocab_size, c.d_model);
}

}  // namespace

T5Config T5Config::from(const io::Config& config, bool is_umt5) {
  T5Config c;
  if (is_umt5) {
    c = {.vocab_size = 250112,
         .d_ff = 1024,
         .num_layers = 8,
         .num_heads = 6,
         .dense_act_fn = "gelu",
         .is_gated_act = true,
         .bias_in_every_layer = true,
         .where = {}};
  }
  c.where = config.where();
  c.vocab_size = config.get_int("vocab_size", c.vocab_size, 1, kMaxVocabulary);
  c.d_model = config.get_int("d_model", c.d_model, 1, kMaxWidth);
  c.d_kv = config.get_int("d_kv", c.d_kv, 1, kMaxWidth);
  c.d_ff = config.get_int("d_ff", c.d_ff, 1, kMaxWidth);
  c.num_layers = config.get_int("num_layers", c.num_layers, 1, kMaxLayers);
  c.num_heads = config.get_int("num_heads", c.num_heads, 1, kMaxWidth);
  c.relative_attention_num_buckets =
      config.get_int("relative_attention_num_buckets", c.relative_attention_num_buckets, 4, kMaxBuckets);
  // A distance of at most a quarter of the buckets would make the logarithmic ones meaningless.
  c.relative_attention_max_distance =
      config.get_int("relative_attention_max_distance", c.relative_attention_max_distance,
                     c.relative_attention_num_buckets / 4 + 1, 1 << 20);
  c.layer_norm_epsilon = config.get_double("layer_norm_epsilon", c.layer_norm_epsilon);
  read_feed_forward(config, c);
  return c;
}

T5SelfAttention::T5SelfAttention(const T5Config& config, const Weights& w, bool has_position_bias)
    : heads(config.num_heads),
      qkv(nn::Linear::fused({w.at("q"), w.at("k"), w.at("v")}, config.d_model,
                            std::vector<int64_t>(3, config.num_heads * config.d_kv),
                            /*has_bias=*/false)),
      o(w.at("o"), config.num_heads * config.d_kv, config.d_model, /*has_bias=*/false) {
  if (has_position_bias) {
    relative_attention_bias.emplace(w.at("relative_attention_bias"), config.relative_attention_num_buckets,
                                    config.num_heads);
  }
}

Tensor T5SelfAttention::forward(const Tensor& x, const Tensor& bias) const {
  const auto parts = qkv.forward(x).chunk(3, -1);  // q, k, v: [B, L, N*Dkv]
  // T5 does not scale by 1 / sqrt(head width): its initialisation does.
  const nn::AttentionOptions options{.heads = heads, .scale = 1.0, .bias = bias};
  return o.forward(nn::attention(parts[0], parts[1], parts[2], options));
}

T5FeedForward::T5FeedForward(const T5Config& config, const Weights& w)
    : act(nn::activation(config.dense_act_fn, config.where + ": feed_forward_proj")),
      wo(w.at("wo"), config.d_ff, config.d_model, /*has_bias=*/false) {
  if (config.is_gated_act) {
    wi_0.emplace(w.at("wi_0"), config.d_model, config.d_ff, /*has_bias=*/false);
    wi_1.emplace(w.at("wi_1"), config.d_model, config.d_ff, /*has_bias=*/false);
  } else {
    wi.emplace(w.at("wi"), config.d_model, config.d_ff, /*has_bias=*/false);
  }
  // The published weights overflow fp16 here: this layer, and with it the sum of the residuals,
  // stays in fp32 (transformers' _keep_in_fp32_modules).
  if (wo.weight.scalar_type() == c10::kHalf) wo.weight = wo.weight.to(c10::kFloat);
}

Tensor T5FeedForward::forward(const Tensor& x) const {
  const Tensor inner = wi ? act(wi->forward(x)) : act(wi_0->forward(x)) * wi_1->forward(x);  // [B, L, d_ff]
  return wo.forward(inner.to(wo.weight.scalar_type()));
}

T5Block::T5Block(const T5Config& config, const Weights& w, bool has_position_bias)
    : attention_norm(w.at("layer.0.layer_norm"), config.d_model, config.layer_norm_epsilon),
      attention(config, w.at("layer.0.SelfAttention"), has_position_bias),
      feed_forward_norm(w.at("layer.1.layer_norm"), config.d_model, config.layer_norm_epsilon),
      feed_forward(config, w.at("layer.1.DenseReluDense")) {}

T5Encoder::T5Encoder(const T5Config& c, const Weights& w)
    : config(c),
      shared(shared_embedding(c, w)),
      final_layer_norm(w.at("encoder.final_layer_norm"), c.d_model, c.layer_norm_epsilon) {
  for (int64_t i = 0; i < c.num_layers; ++i) {
    blocks.emplace_back(c, w.at("encoder.block").at(i), c.bias_in_every_layer || i == 0);
  }
}

Tensor T5Encoder::position_buckets(int64_t length, c10::Device device) const {
  const Tensor positions = at::arange(length, at::TensorOptions(c10::kLong).device(device));
  const Tensor distance = positions.view({1, length}) - positions.view({length, 1});  // key - query
  const int64_t per_sign = config.relative_attention_num_buckets / 2;
  const int64_t exact = per_sign / 2;
  const Tensor far = at::abs(distance);
  // In fp32 and with these operations, as the reference: at distances that are powers of two the
  // result lies on an integer, and a last-bit difference would be another bucket.
  const double log_range =
      std::log(static_cast<double>(config.relative_attention_max_distance) / static_cast<double>(exact));
  const Tensor logarithmic =
      (at::log(far.to(c10::kFloat) / exact) / log_range * (per_sign - exact)).to(c10::kLong) + exact;
  const Tensor capped = at::minimum(logarithmic, at::full_like(logarithmic, per_sign - 1));
  return (distance > 0).to(c10::kLong) * per_sign + at::where(far < exact, far, capped);
}

Tensor T5Encoder::forward(const Tensor& ids, const std::optional<Tensor>& mask) const {
  Tensor x = shared.forward(ids);  // [B, L, D]
  const c10::ScalarType dtype = x.scalar_type();
  const int64_t length = ids.size(1);
  const Tensor buckets = position_buckets(length, ids.device());
  std::optional<Tensor> padding;  // [B, 1, 1, L], 0 or the lowest number: a row of nothing but padding stays finite
  if (mask) {
    const double lowest = dtype == c10::kHalf ? -65504.0 : static_cast<double>(std::numeric_limits<float>::lowest());
    padding = at::zeros({mask->size(0), 1, 1, length}, x.options())
                  .masked_fill((*mask == 0).view({mask->size(0), 1, 1, length}), lowest);
  }
  Tensor bias;  // [B or 1, N, L, L]
  for (const T5Block& block : blocks) {
    if (block.attention.relative_attention_bias) {
      bias = block.attention.relative_attention_bias->forward(buckets).permute({2, 0, 1}).unsqueeze(0);
      if (padding) bias = bias + *padding;
    }
    x = x + block.attention.forward(block.attention_norm.forward(x), bias);
    x = x + block.feed_forward.forward(block.feed_forward_norm.forward(x));
  }
  return final_layer_norm.forward(x);
}

WeightStore::Rename t5_rename(const io::TensorFile& file) {
  const bool has_shared = file.tensors().contains("shared.weight");
  return [has_shared](const std::string& stored) -> std::string {
    if (stored.starts_with("decoder.") || stored == "lm_head.weight") return {};
    if (stored == "encoder.embed_tokens.weight") return has_shared ? std::string() : "shared.weight";
    return stored;
  };
}

}  // namespace t2v::models::text
