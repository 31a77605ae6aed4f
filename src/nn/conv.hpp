// SPDX-License-Identifier: Apache-2.0
// 2-D convolution; weights are laid out at load: channels-last, or in oneDNN's order where that is faster.
#pragma once

#include <array>

#include <ATen/core/Tensor.h>

#include "tensor/weights.hpp"

namespace t2v::nn {

struct Conv2dOptions {
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> stride{1, 1};
  std::array<int64_t, 2> padding{0, 0};
  bool stored_as_3d = false;  // the file holds a 3-D kernel [out, in, kh, 1, 1]; kw is 1 then
};

struct Conv2d {
  Conv2d(const Weights& w, const Conv2dOptions& options);
  Tensor forward(const Tensor& x) const;  // [N, C, H, W], channels-last or contiguous

  Tensor weight;  // [out, in, kh, kw], opaque if packed
  Tensor bias;    // [out]
  Conv2dOptions options;
  bool is_packed;
};

}  // namespace t2v::nn
