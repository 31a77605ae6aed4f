// SPDX-License-Identifier: Apache-2.0
// Pseudo numerical methods (Liu et al. 2202.09778): linear multistep (PLMS), warmed up by
// Runge-Kutta steps or by one repeated step; diffusers 0.42.1 PNDMScheduler.
#include <algorithm>

#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros_like.h>

#include "sampling/samplers.hpp"
#include "sampling/scheduler_base.hpp"
#include "t2v/error.hpp"

namespace t2v::sampling {
namespace {

class Pndm final : public DiscreteScheduler {
 public:
  Pndm(const io::Config& config, const SchedulerOptions& options)
      : DiscreteScheduler(config, options, {.knows_zero_snr = false}),
        prediction_(read_prediction(config, {Prediction::epsilon, Prediction::v_prediction}, "PNDMScheduler")),
        skip_prk_steps_(config.get_bool("skip_prk_steps", false)),
        final_alpha_bar_(config.get_bool("set_alpha_to_one", false) ? at::ones({}) : noise_.alpha_bar(0)) {
    std::vector<double> spaced = spaced_timesteps(grid(noise_, "leading"), true);  // descending
    set_timesteps(skip_prk_steps_ ? repeat_second(spaced) : with_runge_kutta(spaced));
    check_timesteps(prediction_);
  }

  Tensor step(const Tensor& output, int64_t i, const Tensor& sample, Rng&) override {
    const int64_t t = timestep(absolute(i));
    return !skip_prk_steps_ && i < runge_kutta_calls_ ? runge_kutta(output, i, t, sample)
                                                      : multistep(output, i, t, sample);
  }

  std::map<std::string, Tensor> state() const override {
    std::map<std::string, Tensor> state;
    outputs_.save(state, "ets");
    started_.save(state, "cur_sample");
    sum_.save(state, "cur_model_output");
    return state;
  }
  void set_state(const std::map<std::string, Tensor>& state) override {
    outputs_.restore(state, "ets");
    started_.restore(state, "cur_sample");
    sum_.restore(state, "cur_model_output");
  }

 private:
  static constexpr int64_t kOrder = 4;

  int64_t stride() const { return noise_.train_steps / options_.steps; }

  // The second timestep comes twice: the first Euler step is done again with an averaged slope.
  std::vector<double> repeat_second(std::vector<double> t) const {
    if (t.size() > 1) {
      t.insert(t.begin() + 1, t[1]);
    }
    return t;
  }

  // Four calls for each of the first three steps, at t, halfway (twice), and at the next t.
  std::vector<double> with_runge_kutta(const std::vector<double>& t) {
    if (options_.steps < kOrder) {
      throw Error(ErrorCode::usage,
                  "steps: pndm with Runge-Kutta warm-up (skip_prk_steps false): wanted " + std::to_string(kOrder) +
                      " or more, got " + std::to_string(options_.steps),
                  "use --steps " + std::to_string(kOrder));
    }
    const auto half = static_cast<double>(stride() / 2);
    std::vector<double> ascending;  // t3, t3 + half, t2, t2 + half, t1, t1 + half, t0
    for (size_t n = kOrder; n-- > 0;) {
      ascending.insert(ascending.end(), {t[n], t[n] + half});
    }
    ascending.pop_back();
    std::vector<double> calls;
    for (const double value : ascending) {
      calls.insert(calls.end(), 2, value);
    }
    calls = std::vector<double>(calls.begin() + 1, calls.end() - 1);
    std::reverse(calls.begin(), calls.end());
    runge_kutta_calls_ = static_cast<int64_t>(calls.size());
    calls.insert(calls.end(), t.begin() + 3, t.end());
    return calls;
  }

  Tensor runge_kutta(const Tensor& output, int64_t i, int64_t t, const Tensor& sample) {
    const int64_t to = t - (i % 2 == 1 ? 0 : stride() / 2);
    const auto from = timestep(i / 4 * 4);
    Tensor slope = output;
    if (i % 4 == 0) {
      outputs_.push(output);
      started_.push(sample);
      sum_.push(1.0 / 6 * output);
    } else if (i % 4 < 3) {
      sum_.replace_newest(sum_.back(0) + 1.0 / 3 * output);
    } else {
      slope = sum_.back(0) + 1.0 / 6 * output;
      sum_.clear();
    }
    return transfer(started_.back(0), from, to, slope);
  }

  Tensor multistep(const Tensor& output, int64_t i, int64_t t, const Tensor& sample) {
    int64_t from = t;
    int64_t to = t - stride();
    if (i == 1 && skip_prk_steps_) {
      from = t + stride();
      to = t;
    } else {
      outputs_.push(output);
    }
    const auto e = [this](size_t age) -> const Tensor& { return outputs_.back(age); };
    switch (outputs_.size()) {
      case 1:
        if (i == 0) {
          started_.push(sample);
          return transfer(sample, from, to, output);
        }
        return transfer(started_.back(0), from, to, (output + e(0)) / 2);
      case 2: return transfer(sample, from, to, (3 * e(0) - e(1)) / 2);
      case 3: return transfer(sample, from, to, (23 * e(0) - 16 * e(1) + 5 * e(2)) / 12);
      default: return transfer(sample, from, to, 1.0 / 24 * (55 * e(0) - 59 * e(1) + 37 * e(2) - 9 * e(3)));
    }
  }

  // Formula (9) of the paper: moves a sample along a noise estimate from one timestep to another.
  Tensor transfer(const Tensor& sample, int64_t from, int64_t to, const Tensor& output) const {
    const Tensor a = noise_.alpha_bar(from);
    const Tensor b = alpha_bar_or(to, final_alpha_bar_);
    const Tensor epsilon =
        prediction_ == Prediction::v_prediction ? a.pow(0.5) * output + (1 - a).pow(0.5) * sample : output;
    const Tensor denominator = a * (1 - b).pow(0.5) + (a * (1 - a) * b).pow(0.5);
    return (b / a).pow(0.5) * sample - (b - a) * epsilon / denominator;
  }

  Prediction prediction_;
  bool skip_prk_steps_;
  Tensor final_alpha_bar_;  // []
  int64_t runge_kutta_calls_ = 0;
  History outputs_{kOrder};
  History started_{1};  // sample at the start of a step made of several calls
  History sum_{1};      // weighted slopes of the current Runge-Kutta step
};

}  // namespace

std::unique_ptr<Scheduler> make_pndm(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<Pndm>(config, options);
}

}  // namespace t2v::sampling
