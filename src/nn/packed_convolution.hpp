// SPDX-License-Identifier: Apache-2.0
// Convolution on the CPU with weights that were brought into oneDNN's blocked order at load. at::conv2d does that anew in
// every call, which at 1280 channels and 4 x 4 pixels takes more time than the convolution.
#pragma once

#include <ATen/core/Tensor.h>

#include "nn/conv.hpp"

namespace t2v::nn {

/// fp32 on a CPU whose libtorch has oneDNN, and weights too large to stay in a core's cache.
bool can_pack(const Tensor& weight);
/// [out, in, kh, kw] -> an opaque tensor of the same sizes, for packed_convolution() only.
Tensor pack_weight(const Tensor& weight, const Conv2dOptions& options);
/// As at::conv2d, bit for bit; a channels-last input gives a channels-last output.
Tensor packed_convolution(const Tensor& x, const Tensor& packed_weight, const Tensor& bias,
                          const Conv2dOptions& options);

}  // namespace t2v::nn
