// SPDX-License-Identifier: Apache-2.0
// The sampling loop that every family runs.
#pragma once

#include <functional>

#include <ATen/core/Tensor.h>

#include "engine/finite.hpp"
#include "sampling/denoiser.hpp"
#include "sampling/scheduler.hpp"
#include "t2v/progress.hpp"

namespace t2v::engine {

struct SampleOptions {
  int64_t first_step = 0;  ///< network calls already done
  /// Called after each step with its index and the new state. May be empty.
  std::function<void(int64_t, const at::Tensor&)> after_step;
};

/// Runs all network calls of `scheduler` from `state` (the noisy latents, any layout) to the end. The noise of
/// stochastic samplers is drawn from `rng` in the shape of `state`. Every prediction and every new state is checked:
/// where one is not finite, that step is done once more with denoiser.use_fp32(), else Error{numbers} names it.
/// Error{interrupted} when progress says so. A run is continued from progress.resume_state() where there is one.
at::Tensor sample(sampling::Scheduler& scheduler, at::Tensor state, sampling::Denoiser& denoiser, Rng& rng,
                  Progress& progress, const SampleOptions& options = {});

}  // namespace t2v::engine
