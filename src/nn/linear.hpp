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
  static Linear fused(const std::vector<Weights>& parts, int64_t in_features, const std::vector<int64_t>& out_features,
                      bool has_bias);
  /// Its outputs are [hidden, gate]; forward() gives hidden * gelu(gate), half as wide.
  static Linear gated(const Weights& w, int64_t in_features, int64_t out_features);

  Tensor forward(const Tensor& x) const;  // [..., in] -> [..., out]
  /// residual + forward(x), which are laid out alike
  Tensor forward_added(const Tensor& x, const Tensor& residual) const;
  /// sum += forward(x); sum is contiguous
  void accumulate(Tensor& sum, const Tensor& x) const;

  /// For constructors: its bias [out] in fp32, which it does without from now on.
  Tensor release_bias();
  /// For constructors: forward() is that of x + constant from now on, by its bias; [in], fp32.
  void absorb(const Tensor& constant);

  Tensor weight;               // [out, in], or packed
  std::optional<Tensor> bias;  // [out]
  int64_t in_features = 0, out_features = 0;
  bool is_gated = false, is_packed = false;

 private:
  Linear() = default;
  void pack();
  Tensor plain(const Tensor& x) const;
  void run(const Tensor& x, const std::optional<Tensor>& residual, Tensor& out) const;
};

/// x W^T + b, for the few weights that are no layer's own: [..., in], [out, in], [out] -> [..., out]
Tensor product(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias = std::nullopt);

}  // namespace t2v::nn
