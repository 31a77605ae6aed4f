// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numbers>

#include "nn/kernels/geglu.hpp"

namespace t2v::nn::kernels {

void geglu_reference(const float* x, float* out, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    const float* hidden = x + row * 2 * width;
    const float* gate = hidden + width;
    for (int64_t i = 0; i < width; ++i) {
      const double g = gate[i];
      const double gelu = 0.5 * g * (1.0 + std::erf(g / std::numbers::sqrt2));
      out[row * width + i] = static_cast<float>(hidden[i] * gelu);
    }
  }
}

}  // namespace t2v::nn::kernels
