// SPDX-License-Identifier: Apache-2.0
// The sampling of one clip as its plan asks for it: what every family does between its conditioning and its decoder.
#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "io/config.hpp"
#include "sampling/denoiser.hpp"
#include "sampling/scheduler.hpp"
#include "sampling/windows.hpp"
#include "t2v/pipeline.hpp"
#include "tensor/placement.hpp"
#include "tensor/rng.hpp"

namespace t2v::models {

/// The plan's scheduler from the checkpoint's scheduler_config.json. Throws what make_scheduler() throws.
std::unique_ptr<sampling::Scheduler> clip_scheduler(const Plan& plan, const io::Config& config);

/// The context windows of a planned clip.
sampling::WindowOptions window_options(const Plan& plan);

/// Unit noise of the plan's latent_shape, whose frames lie along `frame_dim`, as --noise asks for it.
at::Tensor clip_noise(const Plan& plan, int64_t frame_dim, const Placement& placement, Rng& rng);

/// Memory that blending windows takes beside one network call: the clip's latents a few times over. 0 without windows.
int64_t window_bytes(const Plan& plan);

struct ClipRun {
  const Plan& plan;
  const io::Config& scheduler;   ///< scheduler_config.json as this family uses it
  sampling::Denoiser& denoiser;  ///< honours StepContext::frames
  int64_t frame_dim = 0;         ///< of the state; its last two axes are h and w
  Rng& rng;
  Progress& progress;
};

/// Where a run begins. All in the state's layout.
struct ClipStart {
  at::Tensor noise;     ///< unit variance
  at::Tensor original;  ///< clean latents that are made anew from --strength on; undefined: from noise alone
};

/// Samples from the start to clean latents: in context windows, as often as --freeinit says, and once more in part
/// after
/// --camera has moved the frames.
at::Tensor sample_clip(const ClipRun& run, const ClipStart& start);

}  // namespace t2v::models
