// SPDX-License-Identifier: Apache-2.0
// Whether two computations of the same thing agree.
#pragma once

#include <ATen/core/Tensor.h>

namespace t2v::engine {

/// Whether both differ by roundings of the dtype of `wanted` only, measured against its largest value or `least_scale`
/// where that is larger; never where one is NaN. Waits for the device.
bool are_near(const at::Tensor& ours, const at::Tensor& wanted, double least_scale = 1.0);

}  // namespace t2v::engine
