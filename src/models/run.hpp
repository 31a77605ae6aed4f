// SPDX-License-Identifier: Apache-2.0
// What latent diffusion families do with a plan beside sampling (models/clip): its scheduler checked, its generator,
// its noise.
#pragma once

#include <ATen/core/Tensor.h>

#include "io/config.hpp"
#include "t2v/pipeline.hpp"
#include "tensor/placement.hpp"
#include "tensor/rng.hpp"

namespace t2v::models {

/// Builds the plan's scheduler and throws it away: refuses a combination of sampler, sigmas, spacing and steps, and
/// says what is unusual.
void check_scheduler(const Plan& plan, const io::Config& config);

/// Whether what this run's sampling and decoding take, beside the weights in memory, is more than
/// is free.
bool is_short_of_memory(const Plan& plan);

/// Whether prompt and negative prompt go through the network in one call of two videos: where memory is free for it.
bool guides_in_one_batch(const Plan& plan);

/// The generator of --rng; Error{usage} for cuda noise on another device.
Rng run_rng(const Request& request, const Placement& placement);
/// Noise of unit variance in plan.latent_shape, whose frames lie along `frame_dim`: --init-latents, or drawn as --noise
/// says.
at::Tensor initial_noise(const Plan& plan, int64_t frame_dim, const Placement& placement, Rng& rng);

}  // namespace t2v::models
