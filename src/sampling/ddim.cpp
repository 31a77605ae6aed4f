// SPDX-License-Identifier: Apache-2.0
// DDIM (Song et al. 2010.02502, eq. 12); diffusers 0.42.1 DDIMScheduler.
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>

#include "sampling/samplers.hpp"
#include "sampling/scheduler_base.hpp"

namespace t2v::sampling {
namespace {

class Ddim final : public DiscreteScheduler {
 public:
  Ddim(const io::Config& config, const SchedulerOptions& options)
      : DiscreteScheduler(config, options, {}),
        prediction_(read_prediction(config, {Prediction::epsilon, Prediction::v_prediction, Prediction::sample},
                                    "DDIMScheduler")),
        clip_sample_(config.get_bool("clip_sample", true)),
        clip_range_(config.get_double("clip_sample_range", 1.0)),
        final_alpha_bar_(config.get_bool("set_alpha_to_one", true) ? at::ones({}) : noise_.alpha_bar(0)) {
    config.require("thresholding", false, "dynamic thresholding is for pixel-space models");
    set_timesteps(spaced_timesteps(grid(noise_, "leading"), true));
    check_timesteps(prediction_, clip_sample_);
  }

  Tensor step(const Tensor& output, int64_t i, const Tensor& sample, Rng& rng) override {
    const int64_t t = timestep(absolute(i));
    // The earlier timestep is a stride away, not the next entry of the grid: that is how diffusers
    // has it.
    const Tensor alpha_bar = noise_.alpha_bar(t);
    const Tensor previous = alpha_bar_or(t - noise_.train_steps / options_.steps, final_alpha_bar_);

    Split split = split_prediction(prediction_, output, sample, alpha_bar);
    if (clip_sample_) {
      split.x0 = split.x0.clamp(-clip_range_, clip_range_);
    }
    const Tensor variance = (1 - previous) / (1 - alpha_bar) * (1 - alpha_bar / previous);
    const Tensor deviation = options_.eta * variance.pow(0.5);
    const Tensor direction = (1 - previous - deviation.pow(2)).pow(0.5) * split.epsilon;
    Tensor result = previous.pow(0.5) * split.x0 + direction;
    if (options_.eta > 0) {  // eta = 0 draws nothing, so the generator stays where it is
      result = result + deviation * rng.normal_like(output);
    }
    return result;
  }

 private:
  Prediction prediction_;
  bool clip_sample_;
  double clip_range_;
  Tensor final_alpha_bar_;  // [] alpha_bar before the first timestep
};

}  // namespace

std::unique_ptr<Scheduler> make_ddim(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<Ddim>(config, options);
}

}  // namespace t2v::sampling
