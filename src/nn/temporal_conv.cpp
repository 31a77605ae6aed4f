// SPDX-License-Identifier: Apache-2.0
#include "nn/temporal_conv.hpp"

#include <optional>
#include <string>

#include <ATen/ops/silu.h>

#include "nn/layout.hpp"

namespace t2v::nn {

TemporalConvLayer::TemporalConvLayer(const Weights& w, int64_t channels, int64_t groups) {
  for (int i = 1; i <= 4; ++i) {
    const Weights step = w.at("conv" + std::to_string(i));
    // conv2..4 keep their convolution at index 3: diffusers has a Dropout at 2.
    const Weights conv = step.at(i == 1 ? 2 : 3);
    // A 3-D convolution of size 3 x 1 x 1 is a 2-D one of size 3 x 1 over rows of pixels; ATen's conv3d would take a
    // slow path on small CPU tensors.
    steps.push_back({GroupNorm(step.at(0), groups, channels, /*eps=*/1e-5), Conv2d(conv, {.in_channels = channels,
                                                                                          .out_channels = channels,
                                                                                          .kernel = {3, 1},
                                                                                          .padding = {1, 0},
                                                                                          .stored_as_3d = true})});
  }
}

Tensor TemporalConvLayer::forward(const Tensor& x, int64_t frames) const {
  Tensor h = frames_as_rows(x, frames);
  ConvExtras last;
  last.residual = h;
  const bool norm_adds_bias = norm_adds_shift(h);
  NormExtras given;
  for (const Step& step : steps) {
    const bool is_last = &step == &steps.back();
    h = step.conv.forward(step.norm.forward_activated(h, at::silu, given),
                          is_last ? last : ConvExtras{.leaves_bias = norm_adds_bias});
    if (norm_adds_bias) given.shift = step.conv.with_bias(std::nullopt);
  }
  return rows_as_frames(h, x);
}

}  // namespace t2v::nn
