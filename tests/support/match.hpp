// SPDX-License-Identifier: Apache-2.0
// Comparing tensors: relative L2 error, with the worst element in the failure message.
#pragma once

#include <cmath>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

namespace t2v::test {

inline std::span<const float> floats(const at::Tensor& contiguous) {
  return {contiguous.const_data_ptr<float>(), static_cast<size_t>(contiguous.numel())};
}

/// |got - wanted| / |wanted| <= tolerance, in double. Any dtype, device and layout of `got`.
inline ::testing::AssertionResult is_close(const at::Tensor& got, const at::Tensor& wanted, double tolerance) {
  if (got.sizes() != wanted.sizes()) {
    return ::testing::AssertionFailure() << "wanted a tensor of " << wanted.sizes() << ", got " << got.sizes();
  }
  const at::Tensor got_flat = got.to(at::kCPU, at::kFloat).contiguous();
  const at::Tensor wanted_flat = wanted.to(at::kCPU, at::kFloat).contiguous();
  const auto a = floats(got_flat), b = floats(wanted_flat);
  double error = 0, norm = 0, worst = -1;
  size_t worst_at = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    error += difference * difference;
    norm += static_cast<double>(b[i]) * static_cast<double>(b[i]);
    if (!(difference <= worst)) {
      worst = difference;
      worst_at = i;
    }
  }
  const double relative = std::sqrt(error / norm);
  if (relative <= tolerance) {  // false for NaN
    return ::testing::AssertionSuccess() << "relative L2 " << relative;
  }
  return ::testing::AssertionFailure() << "relative L2 " << relative << " > " << tolerance << "; worst at flat index "
                                       << worst_at << ": wanted " << b[worst_at] << ", got " << a[worst_at];
}

}  // namespace t2v::test
