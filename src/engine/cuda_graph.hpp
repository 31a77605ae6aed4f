// SPDX-License-Identifier: Apache-2.0
// CUDA graphs through the plug-in.
#pragma once

#include <memory>

#include <c10/core/Device.h>

#include "engine/cuda_plugin_api.hpp"
#include "engine/step_graph.hpp"

namespace t2v::engine {

/// `api` must outlive it. Throws Error{no_resource}.
std::unique_ptr<GraphDevice> make_cuda_graph(const cuda::PluginApi& api, c10::Device device);
/// The same with the plug-in that is open.
std::unique_ptr<GraphDevice> make_cuda_graph(c10::Device device);

}  // namespace t2v::engine
