// SPDX-License-Identifier: Apache-2.0
// The sampling loop that every family runs.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/finite.hpp"
#include "engine/step_graph.hpp"
#include "sampling/denoiser.hpp"
#include "sampling/scheduler.hpp"
#include "t2v/progress.hpp"

namespace t2v::engine {

struct SampleOptions {
  c10::ScalarType network_dtype = c10::kFloat;  ///< in which the noise of stochastic samplers is drawn
  StepGraph* graph = nullptr;                   ///< where whole steps may be recorded; the sampler is then a table
};

/// Runs all network calls of `scheduler` from `state` (the noisy latents, any layout) to the end. The state is fp32
/// whatever the network computes in: rounded to bf16 after every step it would lose more than the network does. The
/// noise of stochastic samplers is drawn from `rng` in the shape of `state`. Every prediction and every new state is
/// checked: where one is not finite, that step is done once more with denoiser.use_fp32(), else Error{numbers} names
/// it. Error{interrupted} when progress says so. A run is continued from progress.resume_state() where there is one.
at::Tensor sample(sampling::Scheduler& scheduler, at::Tensor state, sampling::Denoiser& denoiser, Rng& rng,
                  Progress& progress, const SampleOptions& options = {});

}  // namespace t2v::engine
