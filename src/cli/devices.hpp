// SPDX-License-Identifier: Apache-2.0
// --list-devices: the devices of this machine, asked of the CUDA driver itself, without libtorch.
#pragma once

#include <string>

namespace t2v::cli {

std::string device_list();

}  // namespace t2v::cli
