// SPDX-License-Identifier: Apache-2.0
// Exponential integrator with polynomial extrapolation in log rho (Zhang and Chen 2204.13902);
// diffusers 0.42.1 DEISMultistepScheduler.
#include <ATen/core/Tensor.h>

#include "sampling/log_snr.hpp"
#include "sampling/numpy_log.hpp"
#include "sampling/samplers.hpp"
#include "t2v/error.hpp"

namespace t2v::sampling {
namespace {

// Antiderivative, at rho, of the Lagrange polynomial in log rho that is 1 at log b and 0 at log c.
// All [].
Tensor integral(const Tensor& rho, const Tensor& b, const Tensor& c) {
  return rho * (-numpy_log(c) + numpy_log(rho) - 1) / (numpy_log(b) - numpy_log(c));
}

// The same with a third node d.
Tensor integral(const Tensor& rho, const Tensor& b, const Tensor& c, const Tensor& d) {
  const Tensor t = numpy_log(rho);
  const Tensor lc = numpy_log(c);
  const Tensor ld = numpy_log(d);
  const Tensor numerator = rho * (lc * (ld - t + 1) - ld * t + ld + t.pow(2) - 2 * t + 2);
  return numerator / ((numpy_log(b) - lc) * (numpy_log(b) - ld));
}

class Deis final : public LogSnrScheduler {
 public:
  Deis(const io::Config& config, const SchedulerOptions& options)
      : LogSnrScheduler(config, options, {.knows_zero_snr = false}),
        prediction_(read_prediction(
            config, {Prediction::epsilon, Prediction::v_prediction, Prediction::sample, Prediction::flow_prediction},
            "DEISMultistepScheduler")),
        solver_order_(config.get_int("solver_order", 2, 1, 3)),
        lower_order_final_(config.get_bool("lower_order_final", true)),
        outputs_(static_cast<size_t>(solver_order_)) {
    config.require("thresholding", false, "dynamic thresholding is for pixel-space models");
    refuse_other(config, "algorithm_type", "deis", {"dpmsolver", "dpmsolver++"});
    refuse_other(config, "solver_type", "logrho", {"midpoint", "heun", "bh1", "bh2"});
    make_levels(config);
  }

  Tensor step(const Tensor& output, int64_t i, const Tensor& sample, Rng&) override {
    const int64_t k = absolute(i);
    const Level here = level(k);
    const Tensor x0 = to_x0(prediction_, output, sample, k);
    outputs_.push((sample - here.alpha * x0) / here.sigma);
    return update(order_at(k, i), k, sample);
  }

  std::map<std::string, Tensor> state() const override {
    std::map<std::string, Tensor> state;
    outputs_.save(state, "model_outputs");
    return state;
  }
  void set_state(const std::map<std::string, Tensor>& state) override { outputs_.restore(state, "model_outputs"); }

 private:
  // Values that another class left behind mean the default; anything else is a method we do not
  // have.
  void refuse_other(const io::Config& config, const char* key, const char* own,
                    std::initializer_list<const char*> left_behind) const {
    const std::string value = config.get_string(key, own);
    bool known = value == own;
    for (const char* name : left_behind) {
      known = known || value == name;
    }
    if (!known) {
      throw Error(ErrorCode::unsupported, where_ + ": " + key + ": wanted " + own + ", got '" + value + "'");
    }
  }

  void make_levels(const io::Config& config);

  int64_t order_at(int64_t k, int64_t i) const {
    const bool few = lower_order_final_ && call_count() < 15;
    if (solver_order_ == 1 || i < 1 || (k == call_count() - 1 && few)) {
      return 1;
    }
    return solver_order_ == 2 || i < 2 || (k == call_count() - 2 && few) ? 2 : 3;
  }

  Tensor update(int64_t order, int64_t k, const Tensor& sample) const {
    const Level to = level(k + 1);
    const Level from = level(k);
    const Tensor& m0 = outputs_.back(0);
    if (order == 1) {
      const Tensor h = to.lambda - from.lambda;
      return to.alpha / from.alpha * sample - to.sigma * (h.exp() - 1.0) * m0;
    }
    const auto rho = [this](int64_t n) {
      const Level at = level(n);
      return at.sigma / at.alpha;
    };
    const Tensor end = rho(k + 1);
    const Tensor r0 = rho(k);
    const Tensor r1 = rho(k - 1);
    if (order == 2) {
      const Tensor c0 = integral(end, r0, r1) - integral(r0, r0, r1);
      const Tensor c1 = integral(end, r1, r0) - integral(r0, r1, r0);
      return to.alpha * (sample / from.alpha + c0 * m0 + c1 * outputs_.back(1));
    }
    const Tensor r2 = rho(k - 2);
    const Tensor c0 = integral(end, r0, r1, r2) - integral(r0, r0, r1, r2);
    const Tensor c1 = integral(end, r1, r2, r0) - integral(r0, r1, r2, r0);
    const Tensor c2 = integral(end, r2, r0, r1) - integral(r0, r2, r0, r1);
    return to.alpha * (sample / from.alpha + c0 * m0 + c1 * outputs_.back(1) + c2 * outputs_.back(2));
  }

  Prediction prediction_;
  int64_t solver_order_;
  bool lower_order_final_;
  History outputs_;  // noise estimates
};

// The schedule never reaches sigma = 0: re-made grids end in their last level twice.
void Deis::make_levels(const io::Config& config) {
  std::vector<double> timesteps = solver_timesteps(grid(noise_, "linspace"));
  std::vector<double> sigmas;
  if (grid_ == SigmaGrid::karras || grid_ == SigmaGrid::exponential || grid_ == SigmaGrid::beta) {
    const SigmaRange whole = {.max = table_.max(), .min = table_.min()};
    sigmas = remade_sigmas(grid_, configured_range(config, whole), options_.steps);
    timesteps = table_.timestep(sigmas);
    if (grid_ == SigmaGrid::karras) {
      for (double& t : timesteps) {
        t = round_half_even(t);
      }
    }
  } else if (use_flow_sigmas_) {
    timesteps.clear();
    sigmas = descending_flow_sigmas(flow_shift(config, options_));
    for (const double sigma : sigmas) {
      timesteps.push_back(sigma * static_cast<double>(noise_.train_steps));
    }
  } else if (grid_ == SigmaGrid::table) {
    sigmas = table_.interpolate(timesteps);
    set_levels(sigmas, std::move(timesteps), table_.min());
    return;
  } else {
    uniform_levels(timesteps, sigmas);
  }
  const double last = sigmas.back();
  set_levels(sigmas, std::move(timesteps), last);
}

}  // namespace

std::unique_ptr<Scheduler> make_deis(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<Deis>(config, options);
}

}  // namespace t2v::sampling
