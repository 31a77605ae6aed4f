// SPDX-License-Identifier: Apache-2.0
#include "sampling/distilled_timesteps.hpp"

#include <cmath>

#include "sampling/timesteps.hpp"
#include "t2v/error.hpp"

namespace t2v::sampling {

std::vector<double> distilled_timesteps(const io::Config& config, int64_t train_steps, int64_t steps) {
  const int64_t original = config.get_int("original_inference_steps", 50, 1, train_steps);
  if (steps > original) {
    throw Error(ErrorCode::usage,
                "steps: wanted 1 to " + std::to_string(original) +
                    " (original_inference_steps of the distilled model), got " + std::to_string(steps),
                "use --steps " + std::to_string(original));
  }
  const int64_t stride = train_steps / original;
  std::vector<double> timesteps;
  for (const double index : linspace(0, static_cast<double>(original), steps, false)) {
    const auto from_noisy_end = static_cast<int64_t>(std::floor(index));
    timesteps.push_back(static_cast<double>((original - from_noisy_end) * stride - 1));
  }
  return timesteps;
}

}  // namespace t2v::sampling
