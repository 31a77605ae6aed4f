// SPDX-License-Identifier: Apache-2.0
// Multistep consistency sampling (Luo et al. 2310.04378, Algorithm 3); diffusers 0.42.1
// LCMScheduler.
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scalar_tensor.h>

#include "sampling/distilled_timesteps.hpp"
#include "sampling/samplers.hpp"
#include "sampling/scheduler_base.hpp"

namespace t2v::sampling {
namespace {

class Lcm final : public DiscreteScheduler {
 public:
  Lcm(const io::Config& config, const SchedulerOptions& options)
      : DiscreteScheduler(config, options, kDistilledDefaults),
        prediction_(read_prediction(config, {Prediction::epsilon, Prediction::v_prediction, Prediction::sample},
                                    "LCMScheduler")),
        clip_sample_(config.get_bool("clip_sample", false)),
        clip_range_(config.get_double("clip_sample_range", 1.0)),
        timestep_scaling_(config.get_double("timestep_scaling", 10.0)),
        final_alpha_bar_(config.get_bool("set_alpha_to_one", true) ? at::ones({}) : noise_.alpha_bar(0)) {
    config.require("thresholding", false, "dynamic thresholding is for pixel-space models");
    set_timesteps(distilled_timesteps(config, noise_.train_steps, options.steps));
    check_timesteps(prediction_, clip_sample_);
  }

  Tensor step(const Tensor& output, int64_t i, const Tensor& sample, Rng& rng) override {
    const int64_t k = absolute(i);
    const int64_t t = timestep(k);
    const Tensor alpha_bar = noise_.alpha_bar(t);
    Tensor x0 = split_prediction(prediction_, output, sample, alpha_bar).x0;
    if (clip_sample_) {
      x0 = x0.clamp(-clip_range_, clip_range_);
    }
    // Boundary condition of a consistency model: at t = 0 the answer is the sample itself.
    // sigma_data = 0.5.
    const Tensor scaled = at::scalar_tensor(t, at::kLong) * timestep_scaling_;
    const Tensor denominator = scaled.pow(2) + 0.25;
    const Tensor denoised = scaled / denominator.pow(0.5) * x0 + divide(0.25, denominator) * sample;
    if (k == options_.steps - 1) {
      return denoised;
    }
    const Tensor next = alpha_bar_or(timestep(k + 1), final_alpha_bar_);
    return next.sqrt() * denoised +
           (1 - next).sqrt() * rng.normal(output.sizes(), denoised.scalar_type(), output.device());
  }

 private:
  Prediction prediction_;
  bool clip_sample_;
  double clip_range_;
  double timestep_scaling_;
  Tensor final_alpha_bar_;  // []
};

}  // namespace

std::unique_ptr<Scheduler> make_lcm(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<Lcm>(config, options);
}

}  // namespace t2v::sampling
