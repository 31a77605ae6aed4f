// SPDX-License-Identifier: Apache-2.0
// Results of scripts/golden/svd.py as tensors.
#pragma once

#include <string>

#include <ATen/core/Tensor.h>

#include "io/tensor_file.hpp"
#include "support/svd_checkpoint.hpp"
#include "tensor/weights.hpp"

namespace t2v::test {

/// A result of diffusers, by its name in svd.safetensors.
inline at::Tensor svd_expected(const std::string& name) {
  static const auto file = io::open_tensor_file(svd_folder() / "svd.safetensors");
  return as_tensor(file->tensors().at(name), file);
}

}  // namespace t2v::test
