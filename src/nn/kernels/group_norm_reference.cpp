// SPDX-License-Identifier: Apache-2.0
#include "nn/kernels/group_norm.hpp"

#include <cmath>

namespace t2v::nn::kernels {

void group_norm_reference(const GroupNormData& data, const GroupNormShape& s) {
  const int64_t all = s.all_channels(), width = all / s.groups;
  const auto value = [&](int64_t image, int64_t pixel, int64_t c) -> double {
    const size_t part = c < s.channels[0] ? 0 : 1;
    const int64_t at = part == 0 ? c : c - s.channels[0];
    return data.x[part][(image * s.pixels + pixel) * s.channels[part] + at];
  };
  const auto over_group = [&](int64_t first, auto&& f) {
    for (int64_t pixel = 0; pixel < s.pixels; ++pixel) {
      for (int64_t c = first; c < first + width; ++c) f(pixel, c);
    }
  };
  const auto count = static_cast<double>(s.pixels * width);
  for (int64_t image = 0; image < s.images; ++image) {
    for (int64_t first = 0; first < all; first += width) {
      double mean = 0, variance = 0;
      over_group(first, [&](int64_t pixel, int64_t c) { mean += value(image, pixel, c) / count; });
      over_group(first,
                 [&](int64_t pixel, int64_t c) { variance += std::pow(value(image, pixel, c) - mean, 2) / count; });
      over_group(first, [&](int64_t pixel, int64_t c) {
        double y = (value(image, pixel, c) - mean) / std::sqrt(variance + s.eps);
        y = y * static_cast<double>(data.weight[c]) + static_cast<double>(data.bias[c]);
        if (s.silu) y /= 1.0 + std::exp(-y);
        data.out[(image * s.pixels + pixel) * all + c] = static_cast<float>(y);
      });
    }
  }
}

}  // namespace t2v::nn::kernels
