// SPDX-License-Identifier: Apache-2.0
// The outputs that diffusers computed for scripts/golden/taesd.py.
#pragma once

#include <string>

#include "support/net_golden.hpp"
#include "support/taesd_files.hpp"

namespace t2v::test {

inline at::Tensor taesd_expected(const std::string& name) {
  static const auto file = io::open_tensor_file(taesd_folder() / "taesd.safetensors");
  return as_tensor(file->tensors().at(name), file);
}

}  // namespace t2v::test
