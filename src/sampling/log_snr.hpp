// SPDX-License-Identifier: Apache-2.0
// What DPM-Solver++, DEIS and UniPC share: sigma grids on integer timesteps, flow sigmas, and the
// (alpha, sigma, lambda) triple of a noise level. Private to src/sampling.
#pragma once

#include <utility>
#include <vector>

#include "sampling/scheduler_base.hpp"
#include "sampling/sigmas.hpp"

namespace t2v::sampling {

/// alpha^2 + sigma^2 = 1 (or alpha + sigma = 1 for flow), lambda = ln(alpha / sigma). All [].
struct Level {
  Tensor alpha;
  Tensor sigma;
  Tensor lambda;
};

class LogSnrScheduler : public SchedulerBase {
 public:
  Tensor add_noise(const Tensor& original, const Tensor& noise, int64_t i) const final;

 protected:
  LogSnrScheduler(const io::Config& config, const SchedulerOptions& options, const NoiseDefaults& defaults);

  Level level(int64_t k) const;
  /// Sample estimate from the network's output at level k.
  Tensor to_x0(Prediction kind, const Tensor& output, const Tensor& sample, int64_t k) const;
  /// Noise estimate from the network's output at level k; flow predictions have none here.
  Tensor to_epsilon(Prediction kind, const Tensor& output, const Tensor& sample, int64_t k) const;
  /// Sets sigmas_ and the timesteps, which these classes store as integers: fractions are cut off.
  void set_levels(const std::vector<double>& sigmas, std::vector<double> timesteps, double last);

  /// Levels of the sgm_uniform and simple grids. The network gets the nearest trained timestep.
  void uniform_levels(std::vector<double>& timesteps, std::vector<double>& sigmas) const;

  /// Descending flow sigmas of DPM-Solver++ and DEIS: 1 minus an even grid from 1 to 1/T, shifted,
  /// without the end.
  std::vector<double> descending_flow_sigmas(double shift) const;

  NoiseSchedule noise_;
  SigmaTable table_;
  SigmaGrid grid_;
  bool use_flow_sigmas_;
  Tensor sigmas_;  // [calls + 1] fp32

 private:
  std::pair<Tensor, Tensor> alpha_and_sigma(const Tensor& sigma) const;
};

/// Shift of a flow schedule: sigma' = shift * sigma / (1 + (shift - 1) * sigma).
double shift_sigma(double sigma, double shift);
/// Exponent of dynamic shifting: linear in the number of image tokens (Esser et al. 2403.03206);
/// keys base_shift, max_shift, base_image_seq_len, max_image_seq_len. Throws Error{usage} if the
/// run gives no length.
double dynamic_shift(const io::Config& config, const SchedulerOptions& options);
/// flow_shift of the config, or of the run, or exp(mu) with dynamic shifting.
double flow_shift(const io::Config& config, const SchedulerOptions& options);

}  // namespace t2v::sampling
