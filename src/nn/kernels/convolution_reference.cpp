// SPDX-License-Identifier: Apache-2.0
#include "nn/kernels/convolution.hpp"

#include <cmath>

namespace t2v::nn::kernels {

namespace {

/// Where output row `row` lies in the output, and the input pixel under its tap, or -1 in the padding.
struct Geometry {
  const ConvolutionShape& s;

  int64_t out_row(int64_t row) const {
    if (s.parity < 0) return row;
    const int64_t x = row % s.out_width, y = row / s.out_width % s.out_height, image = row / s.out_width / s.out_height;
    return (image * 2 * s.out_height + 2 * y + s.parity / 2) * 2 * s.out_width + 2 * x + s.parity % 2;
  }
  int64_t pixel(int64_t row, int64_t tap) const {
    const int64_t image = row / s.out_width / s.out_height;
    const int64_t y = row / s.out_width % s.out_height * s.stride[0] + tap / s.kernel[1] - top();
    const int64_t x = row % s.out_width * s.stride[1] + tap % s.kernel[1] - left();
    return y < 0 || y >= s.height || x < 0 || x >= s.width ? -1 : (image * s.height + y) * s.width + x;
  }
  int64_t top() const { return s.parity < 0 ? s.padding[0] : 1 - s.parity / 2; }
  int64_t left() const { return s.parity < 0 ? s.padding[1] : 1 - s.parity % 2; }
};

double sum_of(const std::array<const float*, 2>& x, const float* weight, const ConvolutionShape& s, int64_t row) {
  const Geometry at{s};
  double sum = 0;
  for (int64_t tap = 0; tap < s.taps(); ++tap) {
    const int64_t pixel = at.pixel(row, tap);
    for (size_t part = 0; part < 2; ++part) {
      for (int64_t c = 0; c < s.channels[part]; ++c) {
        const double w = *weight++;
        if (pixel >= 0) sum += w * static_cast<double>(x[part][pixel * s.channels[part] + c]);
      }
    }
  }
  return sum;
}

}  // namespace

void convolution_reference(const std::array<const float*, 2>& x, const float* weight, float* out,
                           const ConvolutionShape& s, const ConvolutionEnd& end) {
  const int64_t width = end.gated ? s.outputs / 2 : s.outputs;
  for (int64_t row = 0; row < s.rows(); ++row) {
    const float* bias = end.bias ? end.bias + (end.rows_per_bias ? row / end.rows_per_bias * s.outputs : 0) : nullptr;
    const auto value = [&](int64_t n) {
      return sum_of(x, weight + n * s.depth(), s, row) + (bias ? static_cast<double>(bias[n]) : 0.0);
    };
    const int64_t at = Geometry{s}.out_row(row) * width;
    for (int64_t n = 0; n < width; ++n) {
      double result = value(n);
      if (end.gated) {
        const double gate = value(width + n);
        result *= 0.5 * gate * (1.0 + std::erf(gate / std::sqrt(2.0)));
      }
      if (end.residual) result += static_cast<double>(end.residual[at + n]);
      out[at + n] = static_cast<float>(result);
    }
  }
}

}  // namespace t2v::nn::kernels
