// SPDX-License-Identifier: Apache-2.0
#include "engine/near.hpp"

#include <algorithm>

#include "tensor/operators.hpp"

namespace t2v::engine {

bool are_near(const at::Tensor& ours, const at::Tensor& wanted, double least_scale) {
  // A few units in the last place of the largest value: sums are in fp32, but in another order.
  const double limit = wanted.scalar_type() == c10::kBFloat16 ? 2e-2 : wanted.scalar_type() == c10::kHalf ? 3e-3 : 1e-5;
  const at::Tensor wide = wanted.to(c10::kFloat), difference = (ours.to(c10::kFloat) - wide).abs().max();
  return difference.item<float>() <=
         limit * std::max<double>(least_scale, wide.abs().max().item<float>());  // false for NaN
}

}  // namespace t2v::engine
