// SPDX-License-Identifier: Apache-2.0
// Natural logarithm of a float as NumPy computes it.
#pragma once

#include <ATen/core/Tensor.h>

namespace t2v::sampling {

/// diffusers takes logarithms of fp32 sigmas with NumPy, whose vector code is up to 4 units in the
/// last place off. DEIS multiplies such a difference by 1e4, and rounded timesteps can land on the
/// other side of a half, so equal results need equal logarithms. Rational approximation and
/// constants: NumPy 2.x, loops_exponent_log (AVX2 and AVX512 forms).
float numpy_log(float x);
/// The same for a 0-dim tensor.
at::Tensor numpy_log(const at::Tensor& x);

}  // namespace t2v::sampling
