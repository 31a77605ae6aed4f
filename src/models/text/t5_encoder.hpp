// SPDX-License-Identifier: Apache-2.0
// The encoder of T5 (Raffel et al. 2020, arXiv 1910.10683; v1.1: Shazeer 2020, arXiv 2002.05202)
// and of UMT5, which has position biases of its own in every layer. transformers 5.23
// models/t5/modeling_t5.py T5EncoderModel, models/umt5/modeling_umt5.py UMT5EncoderModel.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/config.hpp"
#include "nn/activation.hpp"
#include "nn/embedding.hpp"
#include "nn/linear.hpp"
#include "nn/norm.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::text {

/// Keys and defaults of transformers' T5Config and UMT5Config.
struct T5Config {
  int64_t vocab_size = 32128;
  int64_t d_model = 512;
  int64_t d_kv = 64;  // width of a head; heads * d_kv need not be d_model
  int64_t d_ff = 2048;
  int64_t num_layers = 6;
  int64_t num_heads = 8;
  int64_t relative_attention_num_buckets = 32;
  int64_t relative_attention_max_distance = 128;
  double layer_norm_epsilon = 1e-6;
  std::string dense_act_fn = "relu";  // from feed_forward_proj: "relu", "gated-gelu"
  bool is_gated_act = false;
  bool bias_in_every_layer = false;  // UMT5
  std::string where;                 // file name for messages

  static T5Config from(const io::Config& config, bool is_umt5 = false);
};

struct T5SelfAttention {
  T5SelfAttention(const T5Config& config, const Weights& w, bool has_position_bias);
  Tensor forward(const Tensor& x,
                 const Tensor& bias) const;  // [B, L, D], bias broadcastable to [B, N, L, L]

  int64_t heads;
  nn::Linear qkv, o;
  std::optional<nn::Embedding> relative_attention_bias;  // bucket -> one bias a head
};

struct T5FeedForward {
  T5FeedForward(const T5Config& config, const Weights& w);
  Tensor forward(const Tensor& x) const;  // [B, L, D]; fp32 for fp16 input, see the constructor

  nn::Activation act;
  std::optional<nn::Linear> wi, wi_0, wi_1;  // wi, or the gated pair
  nn::Linear wo;
};

struct T5Block {
  T5Block(const T5Config& config, const Weights& w, bool has_position_bias);

  nn::RmsNorm attention_norm;
  T5SelfAttention attention;
  nn::RmsNorm feed_forward_norm;
  T5FeedForward feed_forward;
};

/// Immutable after construction; calls may run at the same time.
struct T5Encoder {
  T5Encoder(const T5Config& config, const Weights& w);

  /// ids [B, L] int64, each < vocab_size -> [B, L, D]. `mask` [B, L], 1 = a real token: padding is
  /// not attended.
  Tensor forward(const Tensor& ids, const std::optional<Tensor>& mask = std::nullopt) const;
  /// [L, L] bucket of each key position seen from each query position.
  Tensor position_buckets(int64_t length, c10::Device device) const;

  T5Config config;
  nn::Embedding shared;
  std::vector<T5Block> blocks;
  nn::RmsNorm final_layer_norm;
};

/// WeightStore's rename: drops decoder and head of a whole T5, which transformers' encoder class
/// leaves unread too, and gives the embedding table, stored once or twice, one name.
WeightStore::Rename t5_rename(const io::TensorFile& file);

}  // namespace t2v::models::text
