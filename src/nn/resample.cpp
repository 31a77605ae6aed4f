// SPDX-License-Identifier: Apache-2.0
#include "nn/resample.hpp"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/upsample_nearest2d.h>

namespace t2v::nn {

Downsample2D::Downsample2D(const Weights& w, const DownsampleOptions& o)
    : conv(w.at("conv"), {.in_channels = o.channels,
                          .out_channels = o.channels,
                          .kernel = {3, 3},
                          .stride = {2, 2},
                          .padding = {o.padding, o.padding}}),
      pads_asymmetrically(o.padding == 0) {}

Tensor Downsample2D::forward(const Tensor& x) const {
  return conv.forward(pads_asymmetrically ? at::constant_pad_nd(x, {0, 1, 0, 1}) : x);
}

Upsample2D::Upsample2D(const Weights& w, int64_t channels)
    : conv(w.at("conv"),
           {.in_channels = channels, .out_channels = channels, .kernel = {3, 3}, .padding = {1, 1}, .doubles = true}) {}

Tensor Upsample2D::forward(const Tensor& x, const std::optional<std::array<int64_t, 2>>& size) const {
  const std::array twice{2 * x.size(2), 2 * x.size(3)};
  const auto [height, width] = size.value_or(twice);
  return size.value_or(twice) == twice ? conv.forward_doubled(x)
                                       : conv.forward(at::upsample_nearest2d(x, {height, width}));
}

}  // namespace t2v::nn
