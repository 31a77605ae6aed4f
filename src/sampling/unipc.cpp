// SPDX-License-Identifier: Apache-2.0
// UniPC: multistep predictor, and a corrector that reuses the next network output (Zhao et al.
// 2302.04867); diffusers 0.42.1 UniPCMultistepScheduler.
#include <algorithm>
#include <cmath>

#include <ATen/core/Tensor.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_solve_ex.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>

#include "sampling/log_snr.hpp"
#include "sampling/samplers.hpp"
#include "t2v/error.hpp"

namespace t2v::sampling {
namespace {

class UniPc final : public LogSnrScheduler {
 public:
  UniPc(const io::Config& config, const SchedulerOptions& options);
  Tensor step(const Tensor& output, int64_t i, const Tensor& sample, Rng& rng) override;
  std::map<std::string, Tensor> state() const override;
  void set_state(const std::map<std::string, Tensor>& state) override;

 private:
  /// One step from level `from` to level `from + 1`: everything predictor and corrector have in
  /// common.
  struct Step {
    Tensor base;                    ///< first-order result
    Tensor weight;                  ///< what the correction is multiplied by: alpha (or sigma) times B(h)
    std::vector<Tensor> quotients;  ///< D1s: difference quotients to older estimates
    Tensor matrix;                  ///< R [order, order]
    Tensor right;                   ///< b [order]
  };
  Step prepare(const Tensor& x, int64_t from, int64_t order) const;
  Tensor predict(const Tensor& sample, int64_t k, int64_t order) const;
  Tensor correct(const Tensor& estimate, const Tensor& last_sample, int64_t k, int64_t order) const;
  int64_t order_at(int64_t k, int64_t i) const;
  void make_levels(const io::Config& config);
  void flow_levels(const io::Config& config, std::vector<double>& sigmas, std::vector<double>& timesteps) const;

  bool predict_x0_;
  bool bh1_;
  bool lower_order_final_;
  int64_t solver_order_;
  Prediction prediction_;
  std::vector<int64_t> disable_corrector_;
  History outputs_;         // estimates of sample or noise
  History last_sample_{1};  // sample the last prediction started from
};

UniPc::UniPc(const io::Config& config, const SchedulerOptions& options)
    : LogSnrScheduler(config, options, {.finite_first_sigma = true}),
      predict_x0_(config.get_bool("predict_x0", true)),
      bh1_(config.get_string("solver_type", "bh2") == "bh1"),
      lower_order_final_(config.get_bool("lower_order_final", true)),
      solver_order_(config.get_int("solver_order", 2, 1, 8)),
      prediction_(predict_x0_
                      ? read_prediction(config,
                                        {Prediction::epsilon, Prediction::v_prediction, Prediction::sample,
                                         Prediction::flow_prediction},
                                        "UniPCMultistepScheduler")
                      : read_prediction(config, {Prediction::epsilon, Prediction::v_prediction, Prediction::sample},
                                        "UniPCMultistepScheduler with predict_x0 false")),
      disable_corrector_(config.get_int_list("disable_corrector", std::vector<int64_t>{})),
      outputs_(static_cast<size_t>(solver_order_)) {
  config.require("thresholding", false, "dynamic thresholding is for pixel-space models");
  config.require("solver_p", nullptr, "a predictor of another class");
  const std::string solver = config.get_string("solver_type", "bh2");
  if (solver != "bh1" && solver != "bh2" && solver != "midpoint" && solver != "heun" && solver != "logrho") {
    throw Error(ErrorCode::unsupported, where_ + ": solver_type: wanted bh1 or bh2, got '" + solver + "'");
  }
  if (config.has("shift_terminal") && !use_flow_sigmas_) {
    throw Error(ErrorCode::bad_input, where_ + ": shift_terminal: wanted use_flow_sigmas true beside it");
  }
  make_levels(config);
}

void UniPc::make_levels(const io::Config& config) {
  const std::string final_type = config.get_string("final_sigmas_type", "zero");
  if (final_type != "zero" && final_type != "sigma_min") {
    throw Error(ErrorCode::unsupported,
                where_ + ": final_sigmas_type: wanted zero or sigma_min, got '" + final_type + "'");
  }
  std::vector<double> timesteps = solver_timesteps(grid(noise_, "linspace"));
  std::vector<double> sigmas;
  double sigma_min = table_.min();
  if (grid_ == SigmaGrid::karras || grid_ == SigmaGrid::exponential || grid_ == SigmaGrid::beta) {
    const SigmaRange whole = {.max = table_.max(), .min = table_.min()};
    sigmas = remade_sigmas(grid_, configured_range(config, whole), options_.steps);
    timesteps = table_.timestep(sigmas);
    if (grid_ == SigmaGrid::karras) {
      for (size_t n = 0; n < sigmas.size(); ++n) {
        if (use_flow_sigmas_) {
          sigmas[n] = sigmas[n] / (sigmas[n] + 1);
          timesteps[n] = sigmas[n] * static_cast<double>(noise_.train_steps);
        } else {
          timesteps[n] = round_half_even(timesteps[n]);
        }
      }
    }
    sigma_min = sigmas.back();
  } else if (use_flow_sigmas_) {
    flow_levels(config, sigmas, timesteps);
    sigma_min = sigmas.back();
  } else if (grid_ == SigmaGrid::table) {
    sigmas = table_.interpolate(timesteps);
  } else {
    uniform_levels(timesteps, sigmas);
  }
  set_levels(sigmas, std::move(timesteps), final_type == "zero" ? 0.0 : sigma_min);
}

void UniPc::flow_levels(const io::Config& config, std::vector<double>& sigmas, std::vector<double>& timesteps) const {
  const auto count = static_cast<double>(noise_.train_steps);
  sigmas = linspace(1, 1 / count, options_.steps + 1);
  sigmas.pop_back();
  if (grid_ == SigmaGrid::simple) {
    sigmas = uniform_timesteps(grid_, noise_.train_steps, options_.steps);
    for (double& sigma : sigmas) {
      sigma = (sigma + 1) / count;
    }
  }
  const bool dynamic = config.get_bool("use_dynamic_shifting", false);
  const bool linear = config.get_string("time_shift_type", "exponential") == "linear";
  const double mu = dynamic ? dynamic_shift(config, options_) : 0.0;
  const double factor = linear ? mu : std::exp(mu);
  const double shift = dynamic ? 1.0 : flow_shift(config, options_);
  for (double& sigma : sigmas) {
    sigma = dynamic ? factor / (factor + (1 / sigma - 1)) : shift_sigma(sigma, shift);
  }
  if (const double terminal = config.get_double("shift_terminal", 0.0); terminal != 0.0) {
    const double scale = (1 - sigmas.back()) / (1 - terminal);
    for (double& sigma : sigmas) {
      sigma = 1 - (1 - sigma) / scale;
    }
  }
  // At sigma = 1 the signal is 0 and lambda is not finite.
  constexpr double kBelowOne = 1e-6;
  if (std::fabs(sigmas.front() - 1) < kBelowOne) {
    sigmas.front() -= kBelowOne;
  }
  timesteps.clear();
  for (const double sigma : sigmas) {
    timesteps.push_back(sigma * count);
  }
}

int64_t UniPc::order_at(int64_t k, int64_t i) const {
  const int64_t order = lower_order_final_ ? std::min(solver_order_, call_count() - k) : solver_order_;
  return std::min(order, std::min(i, solver_order_) + 1);
}

UniPc::Step UniPc::prepare(const Tensor& x, int64_t from, int64_t order) const {
  const Level to = level(from + 1);
  const Level here = level(from);
  const Tensor h = to.lambda - here.lambda;
  const Tensor& newest = outputs_.back(0);

  Step s;
  std::vector<Tensor> ratios;
  for (int64_t n = 1; n < order; ++n) {
    const Tensor ratio = (level(from - n).lambda - here.lambda) / h;
    ratios.push_back(ratio);
    s.quotients.push_back((outputs_.back(static_cast<size_t>(n)) - newest) / ratio);
  }
  ratios.push_back(at::ones({}));
  const Tensor nodes = at::stack(ratios);

  const Tensor hh = predict_x0_ ? -h : h;
  const Tensor phi_1 = hh.expm1();
  const Tensor b_h = bh1_ ? hh : phi_1;
  Tensor phi_k = phi_1 / hh - 1;
  double factorial = 1;
  std::vector<Tensor> rows;
  std::vector<Tensor> right;
  for (int64_t n = 1; n <= order; ++n) {
    rows.push_back(nodes.pow(n - 1));
    right.push_back(phi_k * factorial / b_h);
    factorial *= static_cast<double>(n + 1);
    phi_k = phi_k / hh - 1 / factorial;
  }
  s.matrix = at::stack(rows);
  s.right = at::stack(right);
  if (predict_x0_) {
    s.base = to.sigma / here.sigma * x - to.alpha * phi_1 * newest;
    s.weight = to.alpha * b_h;
  } else {
    s.base = to.alpha / here.alpha * x - to.sigma * phi_1 * newest;
    s.weight = to.sigma * b_h;
  }
  return s;
}

// Weights of a step. Two equal levels leave them undetermined, and so does a last step of order 3
// to sigma 0, which lower_order_final avoids.
Tensor solve(const Tensor& matrix, const Tensor& right) {
  const auto [weights, info] = at::linalg_solve_ex(matrix, right);
  if (info.item<int64_t>() != 0) {
    throw Error(ErrorCode::numbers, "unipc: wanted noise levels that determine the step, got a singular system",
                "use fewer steps, a lower solver_order, or lower_order_final true");
  }
  return weights;
}

// Weighted sum of the difference quotients, as diffusers contracts it (the order of summation shows
// in the last bits).
Tensor weighted(const Tensor& weights, const std::vector<Tensor>& quotients) {
  return at::einsum("k,bkc...->bc...", {weights, at::stack(quotients, 1)});
}

Tensor UniPc::predict(const Tensor& sample, int64_t k, int64_t order) const {
  const Step s = prepare(sample, k, order);
  if (order == 1) {
    return s.base.to(sample.scalar_type());
  }
  // With two nodes the equation has the solution 1/2 in the limit of small steps; the paper and
  // diffusers use that.
  const Tensor weights =
      order == 2 ? at::full({1}, 0.5) : solve(s.matrix.slice(0, 0, -1).slice(1, 0, -1), s.right.slice(0, 0, -1));
  return (s.base - s.weight * weighted(weights.to(sample.device()).to(sample.scalar_type()), s.quotients))
      .to(sample.scalar_type());
}

Tensor UniPc::correct(const Tensor& estimate, const Tensor& last_sample, int64_t k, int64_t order) const {
  const Step s = prepare(last_sample, k - 1, order);
  const Tensor weights = (order == 1 ? at::full({1}, 0.5) : solve(s.matrix, s.right))
                             .to(last_sample.device())
                             .to(last_sample.scalar_type());
  Tensor change = weights[-1] * (estimate - outputs_.back(0));
  if (!s.quotients.empty()) {
    change = weighted(weights.slice(0, 0, -1), s.quotients) + change;
  }
  return (s.base - s.weight * change).to(last_sample.scalar_type());
}

Tensor UniPc::step(const Tensor& output, int64_t i, const Tensor& sample_in, Rng&) {
  const int64_t k = absolute(i);
  const Tensor estimate =
      predict_x0_ ? to_x0(prediction_, output, sample_in, k) : to_epsilon(prediction_, output, sample_in, k);
  Tensor sample = sample_in;
  const bool disabled =
      std::find(disable_corrector_.begin(), disable_corrector_.end(), k - 1) != disable_corrector_.end();
  if (i > 0 && !disabled) {
    sample = correct(estimate, last_sample_.back(0), k, order_at(k - 1, i - 1));
  }
  outputs_.push(estimate);
  last_sample_.push(sample);
  return predict(sample, k, order_at(k, i));
}

std::map<std::string, Tensor> UniPc::state() const {
  std::map<std::string, Tensor> state;
  outputs_.save(state, "model_outputs");
  last_sample_.save(state, "last_sample");
  return state;
}

void UniPc::set_state(const std::map<std::string, Tensor>& state) {
  outputs_.restore(state, "model_outputs");
  last_sample_.restore(state, "last_sample");
}

}  // namespace

std::unique_ptr<Scheduler> make_unipc(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<UniPc>(config, options);
}

}  // namespace t2v::sampling
