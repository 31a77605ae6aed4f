// SPDX-License-Identifier: Apache-2.0
// DPM-Solver and DPM-Solver++, multistep, orders 1 to 3, ODE and SDE (Lu et al. 2206.00927,
// 2211.01095); diffusers 0.42.1 DPMSolverMultistepScheduler.
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
  bool final_zero = true;  ///< final_sigmas_type zero, else sigma_min
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
    throw Error(ErrorCode::unsupported, where +
                                            ": algorithm_type: wanted dpmsolver++, sde-dpmsolver++, dpmsolver or "
                                            "sde-dpmsolver, got '" +
                                            algorithm + "'");
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
                        ? read_prediction(config,
                                          {Prediction::epsilon, Prediction::v_prediction, Prediction::sample,
                                           Prediction::flow_prediction},
                                          "DPMSolverMultistepScheduler")
                        : read_prediction(config, {Prediction::epsilon, Prediction::v_prediction, Prediction::sample},
                                          "DPMSolverMultistepScheduler with algorithm_type dpmsolver")),
        outputs_(static_cast<size_t>(config_.solver_order)) {
    make_levels(config);
    refuse_missing_order();
  }

  Tensor step(const Tensor& output, int64_t i, const Tensor& sample_in, Rng& rng) override {
    const int64_t k = absolute(i);
    const Tensor used = config_.learned_variance ? output.slice(1, 0, sample_in.size(1)) : output;
    const Tensor converted =
        config_.plus_plus ? to_x0(prediction_, used, sample_in, k) : to_epsilon(prediction_, used, sample_in, k);
    outputs_.push(converted);
    const Tensor sample = sample_in.to(at::kFloat);
    Tensor noise;
    if (config_.stochastic) {
      noise = rng.normal(converted.sizes(), at::kFloat, converted.device());
    }
    return update(increment(order_at(k, i), k), sample, noise).to(converted.scalar_type());
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

  /// One step: both levels, their distance h in lambda, and the difference quotients of the
  /// estimates in units of h.
  struct Increment {
    int64_t order = 1;
    Level to;
    Level from;
    bool second_phi = false;  ///< d1 is weighted by the second phi function (heun), else by half of the first
    Tensor h;
    Tensor d0, d1, d2;
  };
  Increment increment(int64_t order, int64_t k) const;
  Tensor update(const Increment& s, const Tensor& sample, const Tensor& noise) const;
  static Tensor sample_form(const Increment& s, const Tensor& sample);
  static Tensor noise_form(const Increment& s, const Tensor& sample);
  static Tensor stochastic_sample_form(const Increment& s, const Tensor& sample, const Tensor& noise);
  static Tensor stochastic_noise_form(const Increment& s, const Tensor& sample, const Tensor& noise);

  DpmConfig config_;
  Prediction prediction_;
  History outputs_;  // sample or noise estimates
};

void DpmMultistep::make_levels(const io::Config& config) {
  TimestepGrid spec = grid(noise_, "linspace");
  // Noise levels below lambda_min_clipped are left out: the cosine schedule has nearly endless
  // ones.
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
  if (grid_ == SigmaGrid::karras || config_.use_lu_lambdas) {
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

DpmMultistep::Increment DpmMultistep::increment(int64_t order, int64_t k) const {
  Increment s;
  s.order = order;
  s.to = level(k + 1);
  s.from = level(k);
  s.second_phi = config_.heun || order == 3;
  s.h = s.to.lambda - s.from.lambda;
  s.d0 = outputs_.back(0);
  if (order >= 2) {
    const Tensor r0 = (s.from.lambda - level(k - 1).lambda) / s.h;
    s.d1 = divide(1.0, r0) * (s.d0 - outputs_.back(1));
    if (order == 3) {
      const Tensor r1 = (level(k - 1).lambda - level(k - 2).lambda) / s.h;
      const Tensor bend = s.d1 - divide(1.0, r1) * (outputs_.back(1) - outputs_.back(2));
      s.d2 = divide(1.0, r0 + r1) * bend;
      s.d1 = s.d1 + (r0 / (r0 + r1)) * bend;
    }
  }
  return s;
}

// All four forms read: weight of the sample, then the phi functions of the step h times the
// difference quotients of the estimates. 2211.01095 eq. 4.1 and appendix for the sample estimate,
// 2206.00927 eq. 3.3 to 3.6 for the noise estimate.
Tensor DpmMultistep::update(const Increment& s, const Tensor& sample, const Tensor& noise) const {
  if (config_.plus_plus) {
    return config_.stochastic ? stochastic_sample_form(s, sample, noise) : sample_form(s, sample);
  }
  return config_.stochastic ? stochastic_noise_form(s, sample, noise) : noise_form(s, sample);
}

Tensor DpmMultistep::sample_form(const Increment& s, const Tensor& sample) {
  const Tensor phi = (-s.h).exp() - 1.0;
  Tensor x = (s.to.sigma / s.from.sigma) * sample - (s.to.alpha * phi) * s.d0;
  if (s.order >= 2) {
    x = s.second_phi ? x + (s.to.alpha * (phi / s.h + 1.0)) * s.d1 : x - 0.5 * (s.to.alpha * phi) * s.d1;
  }
  return s.order == 3 ? x - (s.to.alpha * ((phi + s.h) / s.h.pow(2) - 0.5)) * s.d2 : x;
}

Tensor DpmMultistep::noise_form(const Increment& s, const Tensor& sample) {
  const Tensor phi = s.h.exp() - 1.0;
  Tensor x = (s.to.alpha / s.from.alpha) * sample - (s.to.sigma * phi) * s.d0;
  if (s.order >= 2) {
    x = s.second_phi ? x - (s.to.sigma * (phi / s.h - 1.0)) * s.d1 : x - 0.5 * (s.to.sigma * phi) * s.d1;
  }
  return s.order == 3 ? x - (s.to.sigma * ((phi - s.h) / s.h.pow(2) - 0.5)) * s.d2 : x;
}

Tensor DpmMultistep::stochastic_sample_form(const Increment& s, const Tensor& sample, const Tensor& noise) {
  const Tensor phi = 1 - (-2.0 * s.h).exp();
  Tensor x = (s.to.sigma / s.from.sigma * (-s.h).exp()) * sample + (s.to.alpha * phi) * s.d0;
  if (s.order >= 2) {
    x = s.second_phi ? x + (s.to.alpha * (phi / (-2.0 * s.h) + 1.0)) * s.d1 : x + 0.5 * (s.to.alpha * phi) * s.d1;
  }
  if (s.order == 3) {
    x = x + (s.to.alpha * ((phi - 2.0 * s.h) / (2.0 * s.h).pow(2) - 0.5)) * s.d2;
  }
  return x + s.to.sigma * (1.0 - (-2 * s.h).exp()).sqrt() * noise;
}

Tensor DpmMultistep::stochastic_noise_form(const Increment& s, const Tensor& sample, const Tensor& noise) {
  const Tensor phi = s.h.exp() - 1.0;
  Tensor x = (s.to.alpha / s.from.alpha) * sample - 2.0 * (s.to.sigma * phi) * s.d0;
  if (s.order >= 2) {
    x = s.second_phi ? x - 2.0 * (s.to.sigma * (phi / s.h - 1.0)) * s.d1 : x - (s.to.sigma * phi) * s.d1;
  }
  return x + s.to.sigma * ((2 * s.h).exp() - 1.0).sqrt() * noise;
}

}  // namespace

std::unique_ptr<Scheduler> make_dpm_multistep(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<DpmMultistep>(config, options);
}

}  // namespace t2v::sampling
