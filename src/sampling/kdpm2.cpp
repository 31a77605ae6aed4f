// SPDX-License-Identifier: Apache-2.0
// DPM-Solver-2 in k-diffusion's form: a midpoint in log sigma, two network calls a step, with or
// without ancestral noise; diffusers 0.42.1 KDPM2DiscreteScheduler and
// KDPM2AncestralDiscreteScheduler.
#include <algorithm>

#include <ATen/core/Tensor.h>

#include "sampling/samplers.hpp"
#include "sampling/sigma_scheduler.hpp"

namespace t2v::sampling {
namespace {

class Kdpm2 final : public SigmaScheduler {
 public:
  Kdpm2(const io::Config& config, const SchedulerOptions& options, bool ancestral)
      : SigmaScheduler(config, options, {.beta_start = 0.00085, .beta_end = 0.012, .knows_zero_snr = false}),
        ancestral_(ancestral),
        prediction_(read_prediction(config, {Prediction::epsilon, Prediction::v_prediction},
                                    ancestral ? "KDPM2AncestralDiscreteScheduler" : "KDPM2DiscreteScheduler")) {
    Levels level = levels(config, false);
    if (sigma_grid(config) == SigmaGrid::karras) {
      std::transform(level.timesteps.begin(), level.timesteps.end(), level.timesteps.begin(), round_half_even);
    }
    sigmas_ = sigma_tensor(level.sigmas, 0.0);
    make_middles();
    std::vector<double> timesteps = {level.timesteps.front()};
    for (int64_t n = 1; n < static_cast<int64_t>(level.timesteps.size()); ++n) {
      timesteps.push_back(middle_timestep(middles_[static_cast<size_t>(n - 1)]));
      timesteps.push_back(level.timesteps[static_cast<size_t>(n)]);
    }
    // Remade grids keep their doubles; spaced ones are fp32 and so are the timesteps between them.
    const SigmaGrid kind = sigma_grid(config);
    const bool remade = kind == SigmaGrid::karras || kind == SigmaGrid::exponential || kind == SigmaGrid::beta;
    set_timesteps(remade ? timesteps : as_float32(timesteps), 2);
  }

  Tensor scale_model_input(const Tensor& sample, int64_t i) const override {
    const int64_t k = absolute(i);
    return scale_by(sample, k % 2 == 0 ? sigma(k / 2) : middle(k / 2));
  }

  Tensor add_noise(const Tensor& original, const Tensor& noise, int64_t i) const override {
    // The second call of a step counts as the level the step leads to.
    const Tensor level = sigma((absolute(i) + 1) / 2).to(original.scalar_type()).to(original.device()).reshape({1});
    return original + noise * level;
  }

  Tensor step(const Tensor& output, int64_t i, const Tensor& sample_in, Rng& rng) override {
    const int64_t k = absolute(i);
    const int64_t n = k / 2;
    const bool first = k % 2 == 0;
    const Tensor from = sigma(n);
    const Tensor here = first ? from : middle(n);
    const Tensor x0 = denoise(prediction_, output, sample_in, here);
    const Tensor slope = (sample_in - x0) / here;
    if (first) {
      started_.push(sample_in);
      return sample_in + slope * (middle(n) - from);
    }
    const Tensor& sample = started_.back(0);
    const Tensor to = ancestral_ ? split(n).down : sigma(n + 1);
    const Tensor mean = sample + slope * (to - from);
    return ancestral_ ? mean + rng.normal_like(output) * split(n).up : mean;
  }

  std::map<std::string, Tensor> state() const override {
    std::map<std::string, Tensor> state;
    started_.save(state, "sample");
    return state;
  }
  void set_state(const std::map<std::string, Tensor>& state) override { started_.restore(state, "sample"); }

 private:
  struct Split {
    Tensor up;    ///< noise added after the step
    Tensor down;  ///< level the step goes to
  };
  Split split(int64_t n) const {
    const Tensor from = sigma(n);
    const Tensor to = sigma(n + 1);
    const Tensor up = (to.pow(2) * (from.pow(2) - to.pow(2)) / from.pow(2)).pow(0.5);
    return {.up = up, .down = (to.pow(2) - up.pow(2)).pow(0.5)};
  }

  // Geometric middles; the last step has none (it ends at 0) and is an Euler step.
  void make_middles() {
    const int64_t steps = options_.steps;
    for (int64_t n = 0; n < steps; ++n) {
      const bool last = n == steps - 1;
      const Tensor to = ancestral_ ? split(n).down : sigma(n + 1);
      middles_.push_back(last         ? sigma(steps)
                         : ancestral_ ? sigma(n).log().lerp(to.log(), 0.5).exp()
                                      : to.log().lerp(sigma(n).log(), 0.5).exp());
    }
  }
  const Tensor& middle(int64_t n) const { return middles_[static_cast<size_t>(n)]; }
  double middle_timestep(const Tensor& level) const { return table_.timestep(level.item<double>()); }

  bool ancestral_;
  Prediction prediction_;
  std::vector<Tensor> middles_;  // [] each
  History started_{1};           // sample before the step
};

}  // namespace

std::unique_ptr<Scheduler> make_kdpm2(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<Kdpm2>(config, options, false);
}

std::unique_ptr<Scheduler> make_kdpm2_ancestral(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<Kdpm2>(config, options, true);
}

}  // namespace t2v::sampling
