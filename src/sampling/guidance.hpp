// SPDX-License-Identifier: Apache-2.0
// Classifier-free guidance: how the predictions with and without the prompt become one.
#pragma once

#include <ATen/core/Tensor.h>

#include "sampling/denoiser.hpp"

namespace t2v::sampling {

/// The part of a run in which guidance is on, as shares of its steps: early steps gain nothing by it and late ones
/// little (Kynkaanniemi et al. 2404.07724; Castillo et al. 2312.12487).
struct GuidanceInterval {
  double from = 0, until = 1;
  bool contains(const StepContext& step) const {
    const double share = static_cast<double>(step.index) / static_cast<double>(step.count);
    return share >= from && share < until;
  }
};

/// uncond + scale * (cond - uncond) (Ho and Salimans 2207.12598). Any shape.
at::Tensor combine_cfg(const at::Tensor& uncond, const at::Tensor& cond, double scale);
/// The same with one scale a frame, broadcast against the predictions (Stable Video Diffusion's
/// ramp).
at::Tensor combine_cfg(const at::Tensor& uncond, const at::Tensor& cond, const at::Tensor& scale);
/// Halves of a batch run as [uncond, cond] along dimension 0.
at::Tensor combine_cfg_batch(const at::Tensor& both, double scale);
/// Pulls the standard deviation of a guided prediction back towards the conditional one (Lin et al.
/// 2305.08891, 3.4; diffusers rescale_noise_cfg). The deviation runs over all dimensions but the
/// first. rescale 0 returns `guided`.
at::Tensor rescale_noise_cfg(const at::Tensor& guided, const at::Tensor& cond, double rescale);

}  // namespace t2v::sampling
