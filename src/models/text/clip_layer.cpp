// SPDX-License-Identifier: Apache-2.0
#include "models/text/clip_layer.hpp"

#include <vector>

#include "nn/attention.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::text {

CLIPEncoderLayer::CLIPEncoderLayer(const CLIPLayerOptions& o, const Weights& w)
    : heads(o.heads),
      activation(o.activation),
      layer_norm1(w.at("layer_norm1"), o.hidden_size, o.layer_norm_eps),
      qkv(nn::Linear::fused({w.at("self_attn.q_proj"), w.at("self_attn.k_proj"), w.at("self_attn.v_proj")},
                            o.hidden_size, std::vector<int64_t>(3, o.hidden_size), /*has_bias=*/true)),
      out_proj(w.at("self_attn.out_proj"), o.hidden_size, o.hidden_size),
      layer_norm2(w.at("layer_norm2"), o.hidden_size, o.layer_norm_eps),
      fc1(w.at("mlp.fc1"), o.hidden_size, o.intermediate_size),
      fc2(w.at("mlp.fc2"), o.intermediate_size, o.hidden_size) {}

Tensor CLIPEncoderLayer::forward(const Tensor& x, const std::optional<Tensor>& bias, bool causal) const {
  const auto parts = qkv.forward(layer_norm1.forward(x)).chunk(3, -1);  // q, k, v: [B, L, D]
  const nn::AttentionOptions options{.heads = heads, .bias = bias, .causal = causal};
  const Tensor attended = x + out_proj.forward(nn::attention(parts[0], parts[1], parts[2], options));
  return attended + fc2.forward(activation(fc1.forward(layer_norm2.forward(attended))));
}

}  // namespace t2v::models::text
