// SPDX-License-Identifier: Apache-2.0
// Timesteps of distilled models (LCM, TCD): a choice among those the student saw in distillation.
#pragma once

#include <cstdint>
#include <vector>

#include "io/config.hpp"
#include "sampling/noise_schedule.hpp"

namespace t2v::sampling {

inline constexpr NoiseDefaults kDistilledDefaults = {
    .beta_start = 0.00085, .beta_end = 0.012, .beta_schedule = "scaled_linear"};

/// `original_inference_steps` of the config (default 50) evenly spaced timesteps, thinned to
/// `steps`, descending. Throws Error{usage} for more steps than that.
std::vector<double> distilled_timesteps(const io::Config& config, int64_t train_steps, int64_t steps);

}  // namespace t2v::sampling
