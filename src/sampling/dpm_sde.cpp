// SPDX-License-Identifier: Apache-2.0
// DPM-Solver++ SDE (2S), two network calls a step, in k-diffusion's form; diffusers 0.42.1
// DPMSolverSDEScheduler.
//
// Note: [Noise of dpmpp_sde]
// diffusers draws from a Brownian tree that it seeds from the global generator, so a pipeline's own
// seed does not decide its noise. We draw from the run's generator, once a call. The two calls of a
// step look at one Brownian path, over [sigma, middle] and over [sigma, next]: the second increment
// is the first one plus a fresh piece, as on the tree.
#include <cmath>

#include <ATen/core/Tensor.h>
#include <ATen/ops/minimum.h>

#include "sampling/samplers.hpp"
#include "sampling/sigma_scheduler.hpp"

namespace t2v::sampling {
namespace {

class DpmSde final : public SigmaScheduler {
 public:
  DpmSde(const io::Config& config, const SchedulerOptions& options)
      : SigmaScheduler(config, options, {.beta_start = 0.00085, .beta_end = 0.012, .knows_zero_snr = false}),
        prediction_(read_prediction(config, {Prediction::epsilon, Prediction::v_prediction}, "DPMSolverSDEScheduler")) {
    config.require("noise_sampler_seed", nullptr, "the noise comes from the run's seed");
    const Levels level = levels(config, true, false);
    sigmas_ = sigma_tensor(doubled(level.sigmas), 0.0);
    std::vector<double> timesteps = doubled(level.timesteps);
    for (size_t n = 1; n < level.sigmas.size(); ++n) {
      const double from = -std::log(level.sigmas[n - 1]);
      const double middle = std::exp(-(from + (-std::log(level.sigmas[n]) - from) * 0.5));
      timesteps[2 * n - 1] = table_.timestep(middle);
    }
    set_timesteps(std::move(timesteps), 2);
  }

  Tensor scale_model_input(const Tensor& sample, int64_t i) const override {
    const int64_t k = absolute(i);
    return scale_by(sample, i % 2 == 0 ? sigma(k) : middle(k - 1));
  }

  Tensor step(const Tensor& output, int64_t i, const Tensor& sample_in, Rng& rng) override {
    const int64_t k = absolute(i);
    const bool first = i % 2 == 0;
    const int64_t start = first ? k : k - 1;
    const Tensor here = sigma(start);
    const Tensor next = sigma(start + 1);
    const Tensor x0 = denoise(prediction_, output, sample_in, first ? here : middle(start));
    if (next.item<float>() == 0.0F) {
      return sample_in + (sample_in - x0) / here * (next - here);
    }
    const Tensor t = -here.log();
    const Tensor from = (-t).exp();
    const Tensor to = first ? middle(start) : (-(-next.log())).exp();
    const Tensor up = at::minimum(to, (to.pow(2) * (from.pow(2) - to.pow(2)) / from.pow(2)).pow(0.5));
    const Tensor ancestral_t = -(to.pow(2) - up.pow(2)).pow(0.5).log();
    const Tensor& sample = first ? sample_in : started_.back(0);
    const Tensor mean = (-ancestral_t).exp() / (-t).exp() * sample - (t - ancestral_t).expm1() * x0;
    const Tensor noise = first ? rng.normal_like(sample) : whole_step_noise(rng, start);
    if (first) {
      started_.push(sample);
      increment_.push(noise);
    }
    return mean + noise * up;
  }

  std::map<std::string, Tensor> state() const override {
    std::map<std::string, Tensor> state;
    started_.save(state, "sample");
    increment_.save(state, "noise");
    return state;
  }
  void set_state(const std::map<std::string, Tensor>& state) override {
    started_.restore(state, "sample");
    increment_.restore(state, "noise");
  }

 private:
  // Geometric mean of a level and the next one: halfway in log sigma.
  Tensor middle(int64_t start) const {
    const Tensor t = -sigma(start).log();
    return (-(t + (-sigma(start + 1).log() - t) * 0.5)).exp();
  }

  Tensor whole_step_noise(Rng& rng, int64_t start) {
    const Tensor& first = increment_.back(0);
    const double from = sigma(start).item<double>();
    const double half = middle(start).item<double>();
    const double to = sigma(start + 1).item<double>();
    const Tensor fresh = rng.normal_like(first);
    return first * std::sqrt((from - half) / (from - to)) + fresh * std::sqrt((half - to) / (from - to));
  }

  Prediction prediction_;
  History started_{1};    // sample before the step
  History increment_{1};  // increment over its first half
};

}  // namespace

std::unique_ptr<Scheduler> make_dpm_sde(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<DpmSde>(config, options);
}

}  // namespace t2v::sampling
