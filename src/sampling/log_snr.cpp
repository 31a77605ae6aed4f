// SPDX-License-Identifier: Apache-2.0
#include "sampling/log_snr.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "t2v/error.hpp"

namespace t2v::sampling {

LogSnrScheduler::LogSnrScheduler(const io::Config& config, const SchedulerOptions& options,
                                 const NoiseDefaults& defaults)
    : SchedulerBase(config, options),
      noise_(make_noise_schedule(config, defaults)),
      table_(noise_.sigma_table()),
      grid_(sigma_grid(config)),
      use_flow_sigmas_(config.get_bool("use_flow_sigmas", false)) {}

std::pair<Tensor, Tensor> LogSnrScheduler::alpha_and_sigma(const Tensor& sigma) const {
  if (use_flow_sigmas_) {
    return {1 - sigma, sigma};
  }
  const Tensor alpha = divide(1.0, (sigma.pow(2) + 1).pow(0.5));
  return {alpha, sigma * alpha};
}

Level LogSnrScheduler::level(int64_t k) const {
  auto [alpha, sigma] = alpha_and_sigma(sigmas_[k]);
  const Tensor lambda = alpha.log() - sigma.log();
  return {.alpha = alpha, .sigma = sigma, .lambda = lambda};
}

Tensor LogSnrScheduler::to_x0(Prediction kind, const Tensor& output, const Tensor& sample, int64_t k) const {
  const auto [alpha, sigma] = alpha_and_sigma(sigmas_[k]);
  switch (kind) {
    case Prediction::epsilon: return (sample - sigma * output) / alpha;
    case Prediction::sample: return output;
    case Prediction::v_prediction: return alpha * sample - sigma * output;
    case Prediction::flow_prediction: break;
  }
  return sample - sigmas_[k] * output;
}

Tensor LogSnrScheduler::to_epsilon(Prediction kind, const Tensor& output, const Tensor& sample, int64_t k) const {
  const auto [alpha, sigma] = alpha_and_sigma(sigmas_[k]);
  switch (kind) {
    case Prediction::epsilon: return output;
    case Prediction::sample: return (sample - alpha * output) / sigma;
    default: return alpha * output + sigma * sample;
  }
}

void LogSnrScheduler::set_levels(const std::vector<double>& sigmas, std::vector<double> timesteps, double last) {
  sigmas_ = sigma_tensor(sigmas, last);
  for (double& t : timesteps) {
    t = std::trunc(t);
  }
  set_timesteps(std::move(timesteps));
}

void LogSnrScheduler::uniform_levels(std::vector<double>& timesteps, std::vector<double>& sigmas) const {
  timesteps = uniform_timesteps(grid_, noise_.train_steps, options_.steps);
  sigmas.clear();
  for (double& t : timesteps) {
    sigmas.push_back(table_.log_interpolate(t));
    t = round_half_even(t);
  }
}

std::vector<double> LogSnrScheduler::descending_flow_sigmas(double shift) const {
  std::vector<double> sigmas = linspace(1, 1 / static_cast<double>(noise_.train_steps), options_.steps + 1);
  std::reverse(sigmas.begin(), sigmas.end());
  sigmas.pop_back();
  for (double& sigma : sigmas) {
    sigma = shift_sigma(1.0 - sigma, shift);
  }
  return sigmas;
}

Tensor LogSnrScheduler::add_noise(const Tensor& original, const Tensor& noise, int64_t i) const {
  const Tensor sigma = sigmas_[absolute(i)].to(original.scalar_type()).to(original.device()).reshape({1});
  const auto [alpha, scaled] = alpha_and_sigma(sigma);
  return alpha * original + scaled * noise;
}

double shift_sigma(double sigma, double shift) { return shift * sigma / (1 + (shift - 1) * sigma); }

double dynamic_shift(const io::Config& config, const SchedulerOptions& options) {
  if (options.image_seq_len <= 0) {
    throw Error(ErrorCode::usage,
                config.where() + ": use_dynamic_shifting: wanted the number of latent tokens, got none");
  }
  const auto base_length = static_cast<double>(config.get_int("base_image_seq_len", 256));
  const auto max_length = static_cast<double>(config.get_int("max_image_seq_len", 4096));
  const double base = config.get_double("base_shift", 0.5);
  const double slope = (config.get_double("max_shift", 1.15) - base) / (max_length - base_length);
  return static_cast<double>(options.image_seq_len) * slope + (base - slope * base_length);
}

double flow_shift(const io::Config& config, const SchedulerOptions& options) {
  if (config.get_bool("use_dynamic_shifting", false)) {
    return std::exp(dynamic_shift(config, options));
  }
  return options.flow_shift.value_or(config.get_double("flow_shift", 1.0));
}

}  // namespace t2v::sampling
