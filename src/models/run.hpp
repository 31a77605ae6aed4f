// SPDX-License-Identifier: Apache-2.0
// The parts of a run that latent diffusion families have in common: scheduler, noise, prompts, and the checks of a plan
// that need them.
#pragma once

#include <memory>
#include <optional>

#include <ATen/core/Tensor.h>

#include "models/text/text_encoder.hpp"
#include "sampling/scheduler.hpp"
#include "t2v/pipeline.hpp"
#include "tensor/placement.hpp"
#include "tensor/rng.hpp"

namespace t2v::models {

/// The scheduler of a run, from a scheduler_config.json and the request.
std::unique_ptr<sampling::Scheduler> run_scheduler(const Plan& plan, const io::Config& config);
/// The same for one of several samplings: with other steps, begun later.
struct SchedulePart {
  int64_t steps = 0;
  double strength = 1.0;
};
std::unique_ptr<sampling::Scheduler> run_scheduler(const Plan& plan, const io::Config& config, const SchedulePart& part);
/// Builds it and throws it away: refuses a combination of sampler, sigmas, spacing and steps, and says what is unusual.
void check_scheduler(const Plan& plan, const io::Config& config);

/// The generator of --rng; Error{usage} for cuda noise on another device.
Rng run_rng(const Request& request, const Placement& placement);
/// Noise of unit variance in plan.latent_shape, frames (where it has any) along axis `frame_dim`: --init-latents, or drawn
/// as --noise asks for it.
at::Tensor initial_noise(const Plan& plan, const Placement& placement, Rng& rng, int64_t frame_dim = 2);

struct PromptStates {
  at::Tensor prompt;                   // [1, L, D]
  std::optional<at::Tensor> negative;  // [1, L, D]; absent: no classifier-free guidance
  at::Tensor batch() const;            // [1 or 2, L, D]: negative before prompt
};
/// Runs the text stage. As in diffusers, clip_skip applies to the positive prompt only.
PromptStates encode_prompts(const text::TextEncoder& encoder, const Request& request, bool guided, Progress& progress);

}  // namespace t2v::models
