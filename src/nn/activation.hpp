// SPDX-License-Identifier: Apache-2.0
// Activation functions by the names that configs use.
#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>

namespace t2v::nn {

using Activation = at::Tensor (*)(const at::Tensor&);

/// silu swish mish gelu (erf) gelu_new gelu_pytorch_tanh (tanh) quick_gelu relu; else Error{unsupported} naming
/// `where`.
Activation activation(std::string_view name, std::string_view where);

}  // namespace t2v::nn
