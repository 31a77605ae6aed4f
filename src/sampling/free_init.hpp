// SPDX-License-Identifier: Apache-2.0
// FreeInit (Wu et al. 2312.07537): a clip is sampled again from its own low frequencies and fresh
// high ones, which makes frames agree with each other. diffusers 0.42.1 FreeInitMixin.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "io/config.hpp"

namespace t2v::sampling {

enum class FrequencyFilter { butterworth, gaussian, ideal };

struct FreeInitOptions {
  FrequencyFilter filter = FrequencyFilter::butterworth;
  double order = 4;            ///< of the Butterworth filter
  double space_cutoff = 0.25;  ///< stop frequencies, of the highest; 0: nothing is kept
  double time_cutoff = 0.25;
};

/// The low-pass filter over shifted frequencies (lowest in the middle). -> [F, h, w] fp32
at::Tensor low_pass_filter(const FreeInitOptions& options, int64_t frames, int64_t height, int64_t width);

/// Low frequencies of `low`, high ones of `high`, over frames, height and width (the last two
/// axes). fp32, any layout.
at::Tensor mix_frequencies(const at::Tensor& low, const at::Tensor& high, const at::Tensor& filter, int64_t frame_dim);

/// Clean latents at the noise level of the last training timestep. `config` is
/// scheduler_config.json.
at::Tensor diffuse_fully(const at::Tensor& original, const at::Tensor& noise, const io::Config& config);

}  // namespace t2v::sampling
