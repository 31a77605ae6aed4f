// SPDX-License-Identifier: Apache-2.0
// Halving and doubling of images. diffusers 0.42 models/downsampling.py Downsample2D, models/upsampling.py Upsample2D.
#pragma once

#include <array>
#include <optional>

#include <ATen/core/Tensor.h>

#include "nn/conv.hpp"
#include "tensor/weights.hpp"

namespace t2v::nn {

struct DownsampleOptions {
  int64_t channels = 0;
  int64_t padding = 1;  // 0: one column and one row of zeros at the right and bottom (the VAE encoder)
};

struct Downsample2D {
  Downsample2D(const Weights& w, const DownsampleOptions& options);
  Tensor forward(const Tensor& x) const;  // [N, C, H, W] -> [N, C, ~H/2, ~W/2]

  Conv2d conv;  // 3x3, stride 2
  bool pads_asymmetrically;
};

struct Upsample2D {
  Upsample2D(const Weights& w, int64_t channels);
  /// [N, C, H, W] -> [N, C, 2H, 2W], or `size` {H', W'} where the matching skip isn't exactly twice as large.
  Tensor forward(const Tensor& x, const std::optional<std::array<int64_t, 2>>& size = {}) const;

  Conv2d conv;  // 3x3
};

}  // namespace t2v::nn
