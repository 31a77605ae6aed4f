// SPDX-License-Identifier: Apache-2.0
// A plug-in whose device is the CPU: its kernels are the CUDA sources, emulated. What asks for memory or devices fails.
#pragma once

#include "engine/cuda_plugin_api.hpp"

namespace t2v::cuda {

const PluginApi& emulated_plugin();

}  // namespace t2v::cuda
