// SPDX-License-Identifier: Apache-2.0
// Heun's method, two network calls a step, the last step Euler (Karras et al. 2206.00364, Algorithm
// 1); diffusers 0.42.1 HeunDiscreteScheduler.
#include <ATen/core/Tensor.h>

#include "sampling/samplers.hpp"
#include "sampling/sigma_scheduler.hpp"

namespace t2v::sampling {
namespace {

class Heun final : public SigmaScheduler {
 public:
  Heun(const io::Config& config, const SchedulerOptions& options)
      : SigmaScheduler(config, options,
                       {.beta_start = 0.00085, .beta_end = 0.012, .knows_zero_snr = false, .extra_schedule = "exp"}),
        prediction_(read_prediction(config, {Prediction::epsilon, Prediction::v_prediction, Prediction::sample},
                                    "HeunDiscreteScheduler")),
        clip_sample_(config.get_bool("clip_sample", false)),
        clip_range_(config.get_double("clip_sample_range", 1.0)) {
    Levels level = levels(config, false);
    std::vector<double> sigmas = doubled(level.sigmas);
    sigmas_ = sigma_tensor(std::move(sigmas), 0.0);
    set_timesteps(as_float32(doubled(level.timesteps)), 2);
  }

  // Even calls predict with Euler, odd ones redo the step with the mean of both slopes.
  Tensor step(const Tensor& output, int64_t i, const Tensor& sample, Rng&) override {
    const int64_t k = absolute(i);
    const bool first = i % 2 == 0;
    const Tensor here = sigma(k);
    Tensor x0 = denoise(prediction_, output, sample, here);
    if (clip_sample_) {
      x0 = x0.clamp(-clip_range_, clip_range_);
    }
    const Tensor slope = (sample - x0) / here;
    if (first) {
      started_.push(sample);
      slope_.push(slope);
      return sample + slope * (sigma(k + 1) - here);
    }
    const Tensor mean = (slope_.back(0) + slope) / 2;
    return started_.back(0) + mean * (here - sigma(k - 1));
  }

  std::map<std::string, Tensor> state() const override {
    std::map<std::string, Tensor> state;
    started_.save(state, "sample");
    slope_.save(state, "derivative");
    return state;
  }
  void set_state(const std::map<std::string, Tensor>& state) override {
    started_.restore(state, "sample");
    slope_.restore(state, "derivative");
  }

 private:
  Prediction prediction_;
  bool clip_sample_;
  double clip_range_;
  History started_{1};  // sample before the step
  History slope_{1};    // derivative there
};

}  // namespace

std::unique_ptr<Scheduler> make_heun(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<Heun>(config, options);
}

}  // namespace t2v::sampling
