// SPDX-License-Identifier: Apache-2.0
#include "nn/linear.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>

#include "tensor/flops.hpp"

namespace t2v::nn {

Linear::Linear(const Weights& w, int64_t in_features, int64_t out_features, bool has_bias)
    : weight(w.take("weight", {out_features, in_features})) {
  if (has_bias) bias = w.take("bias", {out_features});
}

Linear Linear::fused(const std::vector<Weights>& parts, int64_t in_features,
                     const std::vector<int64_t>& out_features, bool has_bias) {
  std::vector<Tensor> weights, biases;
  for (size_t i = 0; i < parts.size(); ++i) {
    weights.push_back(parts[i].take("weight", {out_features[i], in_features}));
    if (has_bias) biases.push_back(parts[i].take("bias", {out_features[i]}));
  }
  Linear layer;
  layer.weight = at::cat(weights, 0);
  if (has_bias) layer.bias = at::cat(biases, 0);
  return layer;
}

Tensor Linear::forward(const Tensor& x) const {
  if (x.is_meta()) {
    counted_flops += 2 * x.numel() * weight.size(0);
  }
  return at::linear(x, weight, bias);
}

}  // namespace t2v::nn
