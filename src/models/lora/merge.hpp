// SPDX-License-Identifier: Apache-2.0
// One LoRA module against one weight.
#pragma once

#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "io/lora.hpp"

namespace t2v::models::lora {

/// Empty when `module` fits a weight of this shape, else "wanted ..., got ...". A trailing run of 1s makes no
/// difference (a linear layer and a 1x1 convolution).
std::string mismatch(const io::LoraModule& module, at::IntArrayRef shape);

/// weight (fp32, contiguous) += strength * scale * up (mid) down, or strength * diff. The module must fit.
void add_to_weight(at::Tensor& weight, const io::LoraModule& module, double strength,
                   const std::shared_ptr<const io::LoraFile>& owner);
/// The same for the module's bias.
void add_to_bias(at::Tensor& bias, const io::LoraModule& module, double strength,
                 const std::shared_ptr<const io::LoraFile>& owner);

}  // namespace t2v::models::lora
