// SPDX-License-Identifier: Apache-2.0
// DPM-Solver and DPM-Solver++, multistep, orders 1 to 3, ODE and SDE (Lu et al. 2206.00927, 2211.01095); diffusers
// 0.42.1 DPMSolverMultistepScheduler.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/core/Tensor.h>

#include "sampling/log_snr.hpp"
#include "sampling/samplers.hpp"
#include "t2v/error.hpp"

namespace t2v::sampling {
namespace {

struct DpmConfig {
  int64_t solver_order = 2;
  bool plus_plus = true;    ///< integrates the sample estimate (DPM-Solver++) instead of the noise estimate
  bool stochastic = false;  ///< sde-*
  bool heun = false;        ///< solver_type heun, else midpoint
  bool lower_order_final = true;
  bool euler_at_final = false;
  bool final_zero = true;   ///< final_sigmas_type zero, else sigma_min
  bool use_lu_lambdas = false;
  bool learned_variance = false;
  double lambda_min_clipped = 0;

  static DpmConfig from(const io::Config& config);
};

DpmConfig DpmConfig::from(const io::Config& config) {
  DpmConfig c;
  const std::string& where = config.where();
  const std::string algorithm = config.get_string("algorithm_type", "dpmsolver++");
  if (algorithm != "dpmsolver++" && algorithm != "dpmsolver" && algorithm != "sde-dpmsolver++" &&
      algorithm != "sde-dpmsolver" && algorithm != "deis") {  // "deis": left by a scheduler swap, means the default
    throw Error(ErrorCode::unsupported, where + ": algorithm_type: wanted dpmsolver++, sde-dpmsolver++, dpmsolver or "
                                                "sde-dpmsolver, got '" + algorithm + "'");
  }
  c.plus_plus = algorithm != "dpmsolver" && algorithm != "sde-dpmsolver";
  c.stochastic = algorithm.starts_with("sde-");
  const std::string solver = config.get_string("solver_type", "midpoint");
  c.heun = solver == "heun";
  if (!c.heun && solver != "midpoint" && solver != "logrho" && solver != "bh1" && solver != "bh2") {
    throw Error(ErrorCode::unsupported, where + ": solver_type: wanted midpoint or heun, got '" + solver + "'");
  }
  c.solver_order = config.get_int("solver_order", 2, 1, 3);
  const std::string last = config.get_string("final_sigmas_type", "zero");
  c.final_zero = last == "zero";
  if (!c.final_zero && last != "sigma_min") {
    throw Error(ErrorCode::unsupported, where + ": final_sigmas_type: wanted zero or sigma_min, got '" + last + "'");
  }
  // "deis" is refused here too although it means dpmsolver++ otherwise: as in diffusers.
  if ((!c.plus_plus || algorithm == "deis") && c.final_zero) {
    throw Error(ErrorCode::unsupported, where + ": final_sigmas_type: " + algorithm + " wanted sigma_min, got zero");
  }
  c.lower_order_final = config.get_bool("lower_order_final", true);
  c.euler_at_final = config.get_bool("euler_at_final", false);
  c.use_lu_lambdas = config.get_bool("use_lu_lambdas", false);
  c.lambda_min_clipped = config.get_double("lambda_min_clipped", -INFINITY);
  const std::string variance = config.get_string("variance_type", "");
  c.learned_variance = variance == "learned" || variance == "learned_range";
  config.require("thresholding", false, "dynamic thresholding is for pixel-space models");
  return c;
}

class DpmMultistep final : public LogSnrScheduler {
 public:
  DpmMultistep(const io::Config& config, const SchedulerOptions& options)
      : LogSnrScheduler(config, options, {.finite_first_sigma = true}),
        config_(DpmConfig::from(config)),
        prediction_(config_.plus_plus
                        ? read_prediction(config, {Prediction::epsilon, Prediction::v_prediction, Prediction::sample,
                                                   Prediction::flow_prediction}, "DPMSolverMultistepScheduler")
                        : read_prediction(config, {Prediction::epsilon, Prediction::v_prediction, Prediction::sample},
                                          "DPMSolverMultistepScheduler with algorithm_type dpmsolver")),
        outputs_(static_cast<size_t>(config_.solver_order)) {
    make_levels(config);
    refuse_missing_order();
  }

  Tensor step(const Tensor& output, int64_t i, const Tensor& sample_in, Rng& rng) override {
    const int64_t k = absolute(i);
    const Tensor used = config_.learned_variance ? output.slice(1, 0, sample_in.size(1)) : output;
    const Tensor converted = config_.plus_plus ? to_x0(prediction_, used, sample_in, k)
                                               : to_epsilon(prediction_, used, sample_in, k);
    outputs_.push(converted);
    const Tensor sample = sample_in.to(at::kFloat);
    Tensor noise;
    if (config_.stochastic) {
      noise = rng.normal(converted.sizes(), at::kFloat, converted.device());
    }
    return update(order_at(k, i), k, sample, noise).to(converted.scalar_type());
  }

  std::map<std::string, Tensor> state() const override {
    std::map<std::string, Tensor> state;
    outputs_.save(state, "model_outputs");
    return state;
  }
  void set_state(const std::map<std::string, Tensor>& state) override { outputs_.restore(state, "model_outputs"); }

 private:
  void make_levels(const io::Config& config);
  void refuse_missing_order() const;
  int64_t order_at(int64_t k, int64_t i) const;
  Tensor update(int64_t order, int64_t k, const Tensor& sample, const Tensor& noise) const;

  DpmConfig config_;
  Prediction prediction_;
  History outputs_;  // sample or noise estimates
};

void DpmMultistep::make_levels(const io::Config& config) {
  TimestepGrid spec = grid(noise_, "linspace");
  // Noise levels below lambda_min_clipped are left out: the cosine schedule has nearly endless ones.
  const Tensor lambda = (noise_.alphas_cumprod.sqrt().log() - (1 - noise_.alphas_cumprod).sqrt().log()).contiguous();
  const float* values = lambda.const_data_ptr<float>();
  const auto clipped = std::count_if(values, values + noise_.train_steps,
                                     [&](float v) { return static_cast<double>(v) < config_.lambda_min_clipped; });
  spec.last = noise_.train_steps - clipped;
  if (spec.last < 2) {
    throw Error(ErrorCode::bad_input, where_ + ": lambda_min_clipped: leaves no timesteps");
  }
  std::vector<double> timesteps = solver_timesteps(spec);
  std::vector<double> sigmas;
  const bool rounded = noise_.beta_schedule != "squaredcos_cap_v2";
  const SigmaRange whole = {.max = table_.max(), .min = table_.min()};
  if (grid_ == SigmaGrid::karras || (grid_ == SigmaGrid::table && config_.use_lu_lambdas)) {
    sigmas = grid_ == SigmaGrid::karras ? remade_sigmas(grid_, configured_range(config, whole), options_.steps)
                                        : lu_sigmas(table_, options_.steps);
    timesteps = table_.timestep(sigmas);
    if (rounded) {
      std::transform(timesteps.begin(), timesteps.end(), timesteps.begin(), round_half_even);
    }
  } else if (grid_ == SigmaGrid::exponential || grid_ == SigmaGrid::beta) {
    sigmas = remade_sigmas(grid_, configured_range(config, whole), options_.steps);
    timesteps = table_.timestep(sigmas);
  } else if (use_flow_sigmas_) {
    sigmas = descending_flow_sigmas(flow_shift(config, options_));
    timesteps.clear();
    for (const double sigma : sigmas) {
      timesteps.push_back(sigma * static_cast<double>(noise_.train_steps));
    }
  } else if (grid_ == SigmaGrid::sgm_uniform || grid_ == SigmaGrid::simple) {
    uniform_levels(timesteps, sigmas);
  } else {
    sigmas = table_.interpolate(timesteps);
  }
  set_levels(sigmas, std::move(timesteps), config_.final_zero ? 0.0 : table_.min());
}

// There is no third-order form of sde-dpmsolver; short schedules never get to it.
void DpmMultistep::refuse_missing_order() const {
  const auto calls = static_cast<int64_t>(timesteps().size());
  for (int64_t i = 0; i < calls && config_.stochastic && !config_.plus_plus; ++i) {
    if (order_at(absolute(i), i) == 3) {
      throw Error(ErrorCode::unsupported, where_ + ": solver_order: sde-dpmsolver wanted 1 or 2, got 3");
    }
  }
}

int64_t DpmMultistep::order_at(int64_t k, int64_t i) const {
  const bool few = config_.lower_order_final && call_count() < 15;
  const bool first_order_last = k == call_count() - 1 && (config_.euler_at_final || few || config_.final_zero);
  if (config_.solver_order == 1 || i < 1 || first_order_last) {
    return 1;
  }
  return config_.solver_order == 2 || i < 2 || (k == call_count() - 2 && few) ? 2 : 3;
}

// Equations 3.3 to 3.6 of 2206.00927 for the noise form, 4.1 of 2211.01095 and its appendix for the sample form. Both
// read: weight of the sample, minus sum of (phi function of the step h) times (difference quotient of the estimates).
Tensor DpmMultistep::update(int64_t order, int64_t k, const Tensor& sample, const Tensor& noise) const {
  const Level to = level(k + 1);
  const Level from = level(k);
  const Tensor h = to.lambda - from.lambda;

  // Difference quotients of the estimates over lambda, in units of h.
  const Tensor& d0 = outputs_.back(0);
  Tensor d1;
  Tensor d2;
  if (order >= 2) {
    const Tensor r0 = (from.lambda - level(k - 1).lambda) / h;
    d1 = divide(1.0, r0) * (d0 - outputs_.back(1));
    if (order == 3) {
      const Tensor r1 = (level(k - 1).lambda - level(k - 2).lambda) / h;
      const Tensor older = divide(1.0, r1) * (outputs_.back(1) - outputs_.back(2));
      const Tensor bend = d1 - older;
      d2 = divide(1.0, r0 + r1) * bend;
      d1 = d1 + (r0 / (r0 + r1)) * bend;
    }
  }

  const bool second_phi = config_.heun || order == 3;
  Tensor x;
  if (config_.plus_plus && !config_.stochastic) {
    const Tensor phi = (-h).exp() - 1.0;
    x = (to.sigma / from.sigma) * sample - (to.alpha * phi) * d0;
    if (order >= 2) {
      x = second_phi ? x + (to.alpha * (phi / h + 1.0)) * d1 : x - 0.5 * (to.alpha * phi) * d1;
    }
    if (order == 3) {
      x = x - (to.alpha * ((phi + h) / h.pow(2) - 0.5)) * d2;
    }
    return x;
  }
  if (!config_.plus_plus && !config_.stochastic) {
    const Tensor phi = h.exp() - 1.0;
    x = (to.alpha / from.alpha) * sample - (to.sigma * phi) * d0;
    if (order >= 2) {
      x = second_phi ? x - (to.sigma * (phi / h - 1.0)) * d1 : x - 0.5 * (to.sigma * phi) * d1;
    }
    if (order == 3) {
      x = x - (to.sigma * ((phi - h) / h.pow(2) - 0.5)) * d2;
    }
    return x;
  }
  if (config_.plus_plus) {
    const Tensor phi = 1 - (-2.0 * h).exp();
    x = (to.sigma / from.sigma * (-h).exp()) * sample + (to.alpha * phi) * d0;
    if (order >= 2) {
      x = second_phi ? x + (to.alpha * (phi / (-2.0 * h) + 1.0)) * d1 : x + 0.5 * (to.alpha * phi) * d1;
    }
    if (order == 3) {
      x = x + (to.alpha * ((phi - 2.0 * h) / (2.0 * h).pow(2) - 0.5)) * d2;
    }
    return x + to.sigma * (1.0 - (-2 * h).exp()).sqrt() * noise;
  }
  const Tensor phi = h.exp() - 1.0;
  x = (to.alpha / from.alpha) * sample - 2.0 * (to.sigma * phi) * d0;
  if (order >= 2) {
    x = second_phi ? x - 2.0 * (to.sigma * (phi / h - 1.0)) * d1 : x - (to.sigma * phi) * d1;
  }
  return x + to.sigma * ((2 * h).exp() - 1.0).sqrt() * noise;
}

}  // namespace

std::unique_ptr<Scheduler> make_dpm_multistep(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<DpmMultistep>(config, options);
}

}  // namespace t2v::sampling
