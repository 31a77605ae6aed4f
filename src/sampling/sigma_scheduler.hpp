// SPDX-License-Identifier: Apache-2.0
// The Euler family: methods in the variance-exploding form x = x0 + sigma * noise, whose network
// input is x scaled by 1/sqrt(sigma^2 + 1) (Karras et al. 2206.00364). Private to src/sampling.
#pragma once

#include <vector>

#include "sampling/scheduler_base.hpp"
#include "sampling/sigmas.hpp"

namespace t2v::sampling {

class SigmaScheduler : public SchedulerBase {
 public:
  double init_noise_sigma() const override;
  Tensor scale_model_input(const Tensor& sample, int64_t i) const override;
  Tensor add_noise(const Tensor& original, const Tensor& noise, int64_t i) const override;

 protected:
  SigmaScheduler(const io::Config& config, const SchedulerOptions& options, const NoiseDefaults& defaults);

  struct Levels {
    std::vector<double> sigmas;     ///< descending, without the final one
    std::vector<double> timesteps;  ///< of the same length
  };
  /// Spacing, then the grid of the config. `own_range`: re-made grids ignore sigma_min and
  /// sigma_max of the config (classes whose conversion has no such hook). `fp32_timesteps`: the
  /// spaced timesteps are rounded to fp32 first.
  Levels levels(const io::Config& config, bool own_karras_range, bool fp32_timesteps = true) const;
  /// Every level but the first twice: schedules of methods with two network calls a step.
  static std::vector<double> doubled(const std::vector<double>& values);
  Tensor sigma(int64_t k) const { return sigmas_[k]; }  // []
  /// x / sqrt(sigma^2 + 1)
  static Tensor scale_by(const Tensor& sample, const Tensor& sigma) { return sample / (sigma.pow(2) + 1).pow(0.5); }

  NoiseSchedule noise_;
  SigmaTable table_;
  Tensor sigmas_;  // [calls + 1] fp32
};

}  // namespace t2v::sampling
