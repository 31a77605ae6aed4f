// SPDX-License-Identifier: Apache-2.0
// How a network's call may be shortened, beside what it computes.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include "engine/step_graph.hpp"
#include "models/unet/feature_cache.hpp"

namespace t2v::models::unet {

struct CallOptions {
  DeepFeature* deep = nullptr;         ///< features to keep or to use again, see feature_cache.hpp
  engine::StepGraph* graph = nullptr;  ///< records what is the same in every step

  /// work(inputs), replayed where it was recorded. Calls that keep features are not.
  at::Tensor run(const std::vector<at::Tensor>& inputs, const engine::StepGraph::Work& work) const {
    if (!graph) return work(inputs);
    return deep ? graph->call(inputs, work) : graph->run(inputs, work);
  }
};

}  // namespace t2v::models::unet
