// SPDX-License-Identifier: Apache-2.0
#include "sampling/noise_schedule.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cumprod.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tensor.h>

#include "t2v/error.hpp"

namespace t2v::sampling {
namespace {

using at::Tensor;

// Betas that discretise a given cumulative product (diffusers betas_for_alpha_bar): computed in
// double, capped at 0.999.
Tensor betas_from(int64_t count, const std::function<double(double)>& alpha_bar) {
  std::vector<float> betas(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const double t1 = static_cast<double>(i) / static_cast<double>(count);
    const double t2 = static_cast<double>(i + 1) / static_cast<double>(count);
    betas[static_cast<size_t>(i)] = static_cast<float>(std::min(1.0 - alpha_bar(t2) / alpha_bar(t1), 0.999));
  }
  return at::tensor(betas);
}

double cosine_alpha_bar(double t) { return std::pow(std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2), 2); }

double laplace_alpha_bar(double t) {
  const double lambda = -0.5 * std::copysign(1.0, 0.5 - t) * std::log(1 - 2 * std::fabs(0.5 - t) + 1e-6);
  const double snr = std::exp(lambda);
  return std::sqrt(snr / (1 + snr));
}

// Lin et al. 2305.08891, Algorithm 1: shift and scale sqrt(alpha_bar) so that the last one is 0 and
// the first one stays.
Tensor rescale_zero_terminal_snr(const Tensor& betas) {
  Tensor root = at::cumprod(1.0 - betas, 0).sqrt();
  const Tensor first = root[0].clone();
  const Tensor last = root[-1].clone();
  root = (root - last) * (first / (first - last));
  const Tensor alpha_bar = root.pow(2);
  const Tensor alphas = alpha_bar.slice(0, 1) / alpha_bar.slice(0, 0, -1);
  return 1 - at::cat({alpha_bar.slice(0, 0, 1), alphas});
}

Tensor make_betas(const io::Config& config, const NoiseDefaults& defaults, const std::string& schedule, int64_t steps) {
  const double start = config.get_double("beta_start", defaults.beta_start);
  const double end = config.get_double("beta_end", defaults.beta_end);
  const auto options = at::TensorOptions().dtype(at::kFloat);
  if (config.has("trained_betas")) {
    const std::vector<double> given = config.get_doubles("trained_betas");
    if (static_cast<int64_t>(given.size()) != steps) {
      throw Error(ErrorCode::bad_input, config.where() + ": trained_betas: wanted " + std::to_string(steps) +
                                            " values (num_train_timesteps), got " + std::to_string(given.size()));
    }
    return at::tensor(std::vector<float>(given.begin(), given.end()));
  }
  const std::string extra = defaults.extra_schedule;
  if (schedule == "linear") {
    return at::linspace(start, end, steps, options);
  }
  if (schedule == "scaled_linear") {
    return at::linspace(std::sqrt(start), std::sqrt(end), steps, options).pow(2);
  }
  if (schedule == "squaredcos_cap_v2") {
    return betas_from(steps, cosine_alpha_bar);
  }
  if (schedule == "laplace" && extra.find(schedule) != std::string::npos) {
    return betas_from(steps, laplace_alpha_bar);
  }
  if (schedule == "exp" && extra.find(schedule) != std::string::npos) {
    return betas_from(steps, [](double t) { return std::exp(t * -12.0); });
  }
  if (schedule == "sigmoid" && extra.find(schedule) != std::string::npos) {
    return at::sigmoid(at::linspace(-6, 6, steps, options)) * (end - start) + start;
  }
  throw Error(ErrorCode::unsupported, config.where() +
                                          ": beta_schedule: wanted linear, scaled_linear, squaredcos_cap_v2" +
                                          (extra.empty() ? "" : " or " + extra) + ", got '" + schedule + "'");
}

/// Shares of variance: with any other number the cumulative product leaves 0 to 1, and its roots are NaN.
void check_betas(const Tensor& betas, const std::string& where) {
  const float* values = betas.const_data_ptr<float>();
  for (int64_t i = 0; i < betas.numel(); ++i) {
    if (values[i] >= 0.0F && values[i] <= 1.0F) continue;
    throw Error(ErrorCode::bad_input, where + ": beta_start, beta_end: wanted noise levels from 0 to 1, got " +
                                          std::to_string(values[i]) + " at timestep " + std::to_string(i));
  }
}

}  // namespace

Tensor NoiseSchedule::alpha_bar(int64_t t) const {
  if (t < -1 || t >= train_steps) {
    throw Error(ErrorCode::usage,
                "steps: wanted timesteps from 0 to " + std::to_string(train_steps - 1) + ", got " + std::to_string(t),
                "use fewer steps or another spacing");
  }
  return alphas_cumprod[t < 0 ? train_steps - 1 : t];
}

Tensor NoiseSchedule::sigma_table() const { return ((1 - alphas_cumprod) / alphas_cumprod).pow(0.5); }

NoiseSchedule make_noise_schedule(const io::Config& config, const NoiseDefaults& defaults) {
  NoiseSchedule noise;
  // An upper limit keeps a hostile config from asking for gigabytes; published models use 1000,
  // some 4000.
  noise.train_steps = config.get_int("num_train_timesteps", 1000, 2, 1000000);
  noise.beta_schedule = config.get_string("beta_schedule", defaults.beta_schedule);
  Tensor betas = make_betas(config, defaults, noise.beta_schedule, noise.train_steps);
  check_betas(betas, config.where());
  const bool rescale = defaults.knows_zero_snr && config.get_bool("rescale_betas_zero_snr", false);
  if (rescale) {
    betas = rescale_zero_terminal_snr(betas);
  }
  noise.alphas_cumprod = at::cumprod(1.0 - betas, 0);
  if (rescale && defaults.finite_first_sigma) {
    noise.alphas_cumprod[-1].fill_(std::ldexp(1.0, -24));
  }
  noise.zero_terminal = noise.alphas_cumprod[-1].item<float>() == 0.0F;
  return noise;
}

}  // namespace t2v::sampling
