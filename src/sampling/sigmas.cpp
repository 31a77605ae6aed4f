// SPDX-License-Identifier: Apache-2.0
#include "sampling/sigmas.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <ATen/ops/tensor.h>

#include "sampling/beta_quantile.hpp"
#include "sampling/numpy_log.hpp"
#include "sampling/timesteps.hpp"
#include "t2v/error.hpp"

namespace t2v::sampling {
namespace {

constexpr std::array<std::pair<const char*, SigmaGrid>, 5> kNames = {{{"karras", SigmaGrid::karras},
                                                                      {"exponential", SigmaGrid::exponential},
                                                                      {"beta", SigmaGrid::beta},
                                                                      {"sgm_uniform", SigmaGrid::sgm_uniform},
                                                                      {"simple", SigmaGrid::simple}}};

// rho = 7 (Karras et al. 2206.00364, eq. 5).
std::vector<double> karras(SigmaRange range, int64_t steps) {
  constexpr double kRho = 7.0;
  const double from = std::pow(range.max, 1 / kRho);
  const double to = std::pow(range.min, 1 / kRho);
  std::vector<double> sigmas = linspace(0, 1, steps);
  for (double& s : sigmas) {
    s = std::pow(from + s * (to - from), kRho);
  }
  return sigmas;
}

std::vector<double> exponential(SigmaRange range, int64_t steps) {
  std::vector<double> sigmas = linspace(std::log(range.max), std::log(range.min), steps);
  for (double& s : sigmas) {
    s = std::exp(s);
  }
  return sigmas;
}

std::vector<double> beta(SigmaRange range, int64_t steps) {
  constexpr double kShape = 0.6;  // both parameters; diffusers fixes them
  std::vector<double> sigmas = linspace(0, 1, steps);
  for (double& s : sigmas) {
    s = range.min + beta_quantile(1 - s, kShape, kShape) * (range.max - range.min);
  }
  return sigmas;
}

}  // namespace

SigmaGrid sigma_grid(const io::Config& config) {
  const std::string asked = config.get_string(kSigmaGridKey, "");
  for (const auto& [name, grid] : kNames) {
    if (asked == name) {
      return grid;
    }
  }
  const bool karras_on = config.get_bool("use_karras_sigmas", false);
  const bool exponential_on = config.get_bool("use_exponential_sigmas", false);
  const bool beta_on = config.get_bool("use_beta_sigmas", false);
  if (karras_on + exponential_on + beta_on > 1) {
    throw Error(ErrorCode::bad_input, config.where() +
                                          ": use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas: "
                                          "wanted at most one of them, got several");
  }
  return karras_on        ? SigmaGrid::karras
         : exponential_on ? SigmaGrid::exponential
         : beta_on        ? SigmaGrid::beta
                          : SigmaGrid::table;
}

SigmaTable::SigmaTable(const at::Tensor& sigmas) {
  const at::Tensor table = sigmas.contiguous();
  const float* data = table.const_data_ptr<float>();
  for (int64_t i = 0; i < table.numel(); ++i) {
    sigmas_.push_back(data[i]);
    log_sigmas_.push_back(numpy_log(data[i]));
  }
}

double SigmaTable::interpolate(double t) const {
  if (t <= 0) {
    return sigmas_.front();
  }
  if (t >= static_cast<double>(size() - 1)) {
    return sigmas_.back();
  }
  const auto low = static_cast<size_t>(t);
  return (sigmas_[low + 1] - sigmas_[low]) * (t - static_cast<double>(low)) + sigmas_[low];
}

std::vector<double> SigmaTable::interpolate(const std::vector<double>& t) const {
  std::vector<double> sigmas(t.size());
  std::transform(t.begin(), t.end(), sigmas.begin(), [this](double value) { return interpolate(value); });
  return sigmas;
}

double SigmaTable::log_interpolate(double t) const {
  const double clamped = std::clamp(t, 0.0, static_cast<double>(size() - 1));
  const auto low = static_cast<size_t>(clamped);
  const size_t high = std::min(low + 1, sigmas_.size() - 1);
  const double w = clamped - static_cast<double>(low);
  return std::exp((1 - w) * log_sigmas_[low] + w * log_sigmas_[high]);
}

double SigmaTable::timestep(double sigma) const {
  const double log_sigma = std::log(std::max(sigma, 1e-10));
  // The last level that is not above sigma. A scan, not a bisection: after the zero-SNR rescale the
  // final level (from alpha_bar = 2^-24) can lie below the one before it.
  const auto found =
      std::find_if(log_sigmas_.rbegin(), log_sigmas_.rend(), [=](double level) { return log_sigma >= level; });
  const auto low = static_cast<size_t>(
      std::clamp<int64_t>(log_sigmas_.rend() - found - 1, 0, static_cast<int64_t>(log_sigmas_.size()) - 2));
  // The table is fp32 in NumPy: the distance of two entries is rounded, the distance to log_sigma
  // is not.
  const double gap = static_cast<float>(log_sigmas_[low] - log_sigmas_[low + 1]);
  const double w = std::clamp((log_sigmas_[low] - log_sigma) / gap, 0.0, 1.0);
  return (1 - w) * static_cast<double>(low) + w * static_cast<double>(low + 1);
}

std::vector<double> SigmaTable::timestep(const std::vector<double>& sigmas) const {
  std::vector<double> t(sigmas.size());
  std::transform(sigmas.begin(), sigmas.end(), t.begin(), [this](double value) { return timestep(value); });
  return t;
}

SigmaRange configured_range(const io::Config& config, SigmaRange ends) {
  const SigmaRange range = {.max = config.get_double("sigma_max", ends.max),
                            .min = config.get_double("sigma_min", ends.min)};
  if (!(range.min > 0 && range.max > 0 && std::isfinite(range.min) && std::isfinite(range.max))) {
    throw Error(ErrorCode::bad_input, config.where() + ": sigma_min, sigma_max: wanted positive numbers, got " +
                                          std::to_string(range.min) + ", " + std::to_string(range.max));
  }
  return range;
}

std::vector<double> remade_sigmas(SigmaGrid grid, SigmaRange range, int64_t steps) {
  return grid == SigmaGrid::karras        ? karras(range, steps)
         : grid == SigmaGrid::exponential ? exponential(range, steps)
                                          : beta(range, steps);
}

std::vector<double> lu_sigmas(const SigmaTable& table, int64_t steps) {
  std::vector<double> sigmas = linspace(0, 1, steps);
  for (double& s : sigmas) {
    s = std::exp(table.log_max() + s * (table.log_min() - table.log_max()));
  }
  return sigmas;
}

std::vector<double> uniform_timesteps(SigmaGrid grid, int64_t train_steps, int64_t steps) {
  const auto last = static_cast<double>(train_steps - 1);
  if (grid == SigmaGrid::sgm_uniform) {
    std::vector<double> t = linspace(last, 0, steps + 1);
    t.pop_back();
    return t;
  }
  std::vector<double> t(static_cast<size_t>(steps));
  const double stride = static_cast<double>(train_steps) / static_cast<double>(steps);
  for (int64_t i = 0; i < steps; ++i) {
    t[static_cast<size_t>(i)] = last - std::floor(static_cast<double>(i) * stride);
  }
  return t;
}

at::Tensor sigma_tensor(std::vector<double> sigmas, std::optional<double> last) {
  if (last) {
    sigmas.push_back(*last);
  }
  return at::tensor(std::vector<float>(sigmas.begin(), sigmas.end()));
}

}  // namespace t2v::sampling
