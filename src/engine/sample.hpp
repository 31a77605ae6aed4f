// SPDX-License-Identifier: Apache-2.0
// The sampling loop that every family runs.
#pragma once

#include <functional>

#include <ATen/core/Tensor.h>

#include "sampling/denoiser.hpp"
#include "sampling/scheduler.hpp"
#include "t2v/progress.hpp"

namespace t2v::engine {

struct SampleOptions {
  int64_t first_step = 0;  ///< resume: network calls already done
  /// Called after each step with its index and the new state; for checkpoints. May be empty.
  std::function<void(int64_t, const at::Tensor&)> after_step;
};

/// Runs all network calls of `scheduler` from `state` (the noisy latents, any layout) to the end. The noise of
/// stochastic samplers is drawn from `rng` in the shape of `state`. Throws Error{numbers} naming the step when a state
/// is not finite, Error{interrupted} when progress says so.
at::Tensor sample(sampling::Scheduler& scheduler, at::Tensor state, sampling::Denoiser& denoiser, Rng& rng,
                  Progress& progress, const SampleOptions& options = {});

/// Error{numbers} unless every element is finite. `stage` names the place for the message.
void require_finite(const at::Tensor& tensor, const std::string& stage);

}  // namespace t2v::engine
