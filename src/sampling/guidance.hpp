// SPDX-License-Identifier: Apache-2.0
// Classifier-free guidance: how the predictions with and without the prompt become one.
#pragma once

#include <ATen/core/Tensor.h>

namespace t2v::sampling {

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
