// SPDX-License-Identifier: Apache-2.0
#include "sampling/sigma_scheduler.hpp"

namespace t2v::sampling {

SigmaScheduler::SigmaScheduler(const io::Config& config, const SchedulerOptions& options, const NoiseDefaults& defaults)
    : SchedulerBase(config, options), noise_(make_noise_schedule(config, defaults)), table_(noise_.sigma_table()) {}

double SigmaScheduler::init_noise_sigma() const { return exploding_init_sigma(sigmas_, spacing_); }

Tensor SigmaScheduler::scale_model_input(const Tensor& sample, int64_t i) const {
  return scale_by(sample, sigma(absolute(i)));
}

Tensor SigmaScheduler::add_noise(const Tensor& original, const Tensor& noise, int64_t i) const {
  const Tensor level = sigma(absolute(i)).to(original.scalar_type()).to(original.device()).reshape({1});
  return original + noise * level;
}

SigmaScheduler::Levels SigmaScheduler::levels(const io::Config& config, bool own_karras_range,
                                              bool fp32_timesteps) const {
  Levels result;
  result.timesteps = spaced_timesteps(grid(noise_, "linspace"), false);
  if (fp32_timesteps) {
    result.timesteps = as_float32(result.timesteps);
  }
  result.sigmas = table_.interpolate(result.timesteps);
  const SigmaGrid kind = sigma_grid(config);
  if (kind == SigmaGrid::karras || kind == SigmaGrid::exponential || kind == SigmaGrid::beta) {
    const SigmaRange ends = {.max = result.sigmas.front(), .min = result.sigmas.back()};
    const bool own_range = own_karras_range && kind == SigmaGrid::karras;
    result.sigmas = remade_sigmas(kind, own_range ? ends : configured_range(config, ends), options_.steps);
    result.timesteps = table_.timestep(result.sigmas);
  } else if (kind == SigmaGrid::sgm_uniform || kind == SigmaGrid::simple) {
    result.timesteps = uniform_timesteps(kind, noise_.train_steps, options_.steps);
    for (size_t n = 0; n < result.timesteps.size(); ++n) {
      result.sigmas.resize(result.timesteps.size());
      result.sigmas[n] = table_.log_interpolate(result.timesteps[n]);
    }
  }
  return result;
}

std::vector<double> SigmaScheduler::doubled(const std::vector<double>& values) {
  std::vector<double> twice = {values.front()};
  for (size_t n = 1; n < values.size(); ++n) {
    twice.insert(twice.end(), 2, values[n]);
  }
  return twice;
}

}  // namespace t2v::sampling
