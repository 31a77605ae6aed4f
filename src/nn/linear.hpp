// SPDX-License-Identifier: Apache-2.0
// Fully connected layer: y = x W^T + b.
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

#include "tensor/weights.hpp"

namespace t2v::nn {

struct Linear {
  Linear(const Weights& w, int64_t in_features, int64_t out_features, bool has_bias = true);
  /// Several linear layers with the same input, as one: their outputs lie one after the other on the last axis.
  static Linear fused(const std::vector<Weights>& parts, int64_t in_features,
                      const std::vector<int64_t>& out_features, bool has_bias);

  Tensor forward(const Tensor& x) const;  // [..., in] -> [..., out]

  Tensor weight;               // [out, in]
  std::optional<Tensor> bias;  // [out]

 private:
  Linear() = default;
};

}  // namespace t2v::nn
