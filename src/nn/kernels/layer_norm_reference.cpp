// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "nn/kernels/layer_norm.hpp"

namespace t2v::nn::kernels {

void layer_norm_reference(const float* x, const float* weight, const float* bias, float* out, int64_t rows,
                          int64_t width, double eps) {
  for (; rows > 0; --rows, x += width, out += width) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < width; ++i) mean += static_cast<double>(x[i]) / static_cast<double>(width);
    for (int64_t i = 0; i < width; ++i) {
      variance += std::pow(static_cast<double>(x[i]) - mean, 2) / static_cast<double>(width);
    }
    for (int64_t i = 0; i < width; ++i) {
      const double y = (static_cast<double>(x[i]) - mean) / std::sqrt(variance + eps);
      out[i] = static_cast<float>(y * static_cast<double>(weight[i]) + static_cast<double>(bias[i]));
    }
  }
}

}  // namespace t2v::nn::kernels
