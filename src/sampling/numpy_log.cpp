// SPDX-License-Identifier: Apache-2.0
#include "sampling/numpy_log.hpp"

#include <array>
#include <cmath>
#include <numbers>

#include <ATen/ops/scalar_tensor.h>

namespace t2v::sampling {
namespace {

float horner(float x, const std::array<float, 6>& highest_first) {
  float value = highest_first[0];
  for (size_t n = 1; n < highest_first.size(); ++n) {
    value = std::fma(value, x, highest_first[n]);
  }
  return value;
}

}  // namespace

float numpy_log(float x) {
  constexpr std::array<float, 6> kNumerator = {2.589979117907922693523e-02F, 3.808837741388407920751e-01F,
                                               1.480000633576506585156e+00F, 2.112677543073053063722e+00F,
                                               9.999999999999998702752e-01F, 0.0F};
  constexpr std::array<float, 6> kDenominator = {5.875095403124574342950e-03F, 1.546476374983906719538e-01F,
                                                 9.864942958519418960339e-01F, 2.453006071784736363091e+00F,
                                                 2.612677543073109236779e+00F, 1.0F};
  if (!(x > 0.0F) || std::isinf(x)) {
    return std::log(x);
  }
  int exponent = std::ilogb(x);
  float mantissa = std::scalbn(x, -exponent);  // [1, 2)
  if (mantissa > std::numbers::sqrt2_v<float>) {
    mantissa *= 0.5F;
    ++exponent;
  }
  const float y = mantissa - 1.0F;
  return std::fma(static_cast<float>(exponent), std::numbers::ln2_v<float>,
                  horner(y, kNumerator) / horner(y, kDenominator));
}

at::Tensor numpy_log(const at::Tensor& x) { return at::scalar_tensor(numpy_log(x.item<float>()), x.options()); }

}  // namespace t2v::sampling
