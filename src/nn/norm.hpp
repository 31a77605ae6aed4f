// SPDX-License-Identifier: Apache-2.0
// Normalisations. eps has no default: a wrong one is a drift nobody sees.
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

#include "nn/activation.hpp"
#include "tensor/weights.hpp"

namespace t2v::nn {

struct LayerNorm {
  LayerNorm(const Weights& w, int64_t width, double eps);
  /// x [..., width]; with positions [F, 1, width], x is [..., F, P, width] and each row of a frame gets its frame's.
  Tensor forward(const Tensor& x, const std::optional<Tensor>& positions = {}) const;
  /// For constructors: forward() is that of x + constant from now on; [width], fp32.
  void add_first(const Tensor& constant);
  /// Whether that costs nothing. On a device its kernel adds the constant in the same pass; where there is none, it is
  /// a pass as long as the one spared by whoever left the constant out. The same for all layers of a network, whenever
  /// the device's kernels get ready.
  bool adds_first_for_nothing() const;

  Tensor weight, bias;                // [width]
  std::optional<Tensor> offset = {};  // [width], of add_first()
  double eps;

 private:
  Tensor normalised(const Tensor& x) const;
};

/// T5's norm: no mean, no bias, variance in fp32 (Zhang and Sennrich 2019; transformers T5LayerNorm).
struct RmsNorm {
  RmsNorm(const Weights& w, int64_t width, double eps);
  Tensor forward(const Tensor& x) const;  // [..., width]

  Tensor weight;  // [width]
  double eps;
};

/// What is done together with a norm where the hardware gains by it.
struct NormExtras {
  std::optional<Tensor> beside = {};  // more channels, as if concatenated
  std::optional<Tensor> shift = {};   // [B, C], added first to all images of each of B videos
};

/// Statistics over (channels / groups) and all axes after the second.
struct GroupNorm {
  GroupNorm(const Weights& w, int64_t groups, int64_t channels, double eps);
  Tensor forward(const Tensor& x) const;       // [N, C, ...]
  Tensor forward_silu(const Tensor& x) const;  // silu(forward(x))
  /// activation(forward(x))
  Tensor forward_activated(const Tensor& x, Activation activation, const NormExtras& extras = {}) const;

  Tensor weight, bias;  // [C]
  int64_t groups;
  double eps;

 private:
  Tensor run(const Tensor& x, const NormExtras& extras, bool silu) const;
};

/// Who adds a shift between a convolution and a norm for nothing: on a device the norm's kernel, else the
/// convolution's.
bool norm_adds_shift(const Tensor& x);

}  // namespace t2v::nn
