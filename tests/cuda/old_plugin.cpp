// SPDX-License-Identifier: Apache-2.0
#include "engine/cuda_plugin_api.hpp"
#include "t2v/export.hpp"

extern "C" T2V_API const t2v::cuda::PluginApi* t2v_cuda_plugin() {
  static t2v::cuda::PluginApi api{};
  api.abi = t2v::cuda::kPluginAbi - 1;
  return &api;
}
