// SPDX-License-Identifier: Apache-2.0
// Trajectory consistency sampling with strategic noise (Zheng et al. 2402.19159, Algorithm 4);
// diffusers 0.42.1 TCDScheduler. --eta is the paper's gamma. The class has clip_sample and
// thresholding keys and never uses them.
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scalar_tensor.h>

#include "sampling/distilled_timesteps.hpp"
#include "sampling/samplers.hpp"
#include "sampling/scheduler_base.hpp"

namespace t2v::sampling {
namespace {

class Tcd final : public DiscreteScheduler {
 public:
  Tcd(const io::Config& config, const SchedulerOptions& options)
      : DiscreteScheduler(config, options, kDistilledDefaults),
        prediction_(read_prediction(config, {Prediction::epsilon, Prediction::v_prediction, Prediction::sample},
                                    "TCDScheduler")),
        final_alpha_bar_(config.get_bool("set_alpha_to_one", true) ? at::ones({}) : noise_.alpha_bar(0)) {
    set_timesteps(distilled_timesteps(config, noise_.train_steps, options.steps));
    check_timesteps(prediction_);
  }

  Tensor step(const Tensor& output, int64_t i, const Tensor& sample, Rng& rng) override {
    const int64_t k = absolute(i);
    const int64_t next = k + 1 < call_count() ? timestep(k + 1) : 0;
    // Jump past the next timestep to s, then noise back up to it; fp32 as in diffusers, the floor
    // depends on it.
    const auto s = (at::scalar_tensor(next, at::kLong) * (1 - options_.eta)).floor().item<int64_t>();
    const Tensor alpha_bar_s = noise_.alpha_bar(s);
    const Split split = split_prediction(prediction_, output, sample, noise_.alpha_bar(timestep(k)));
    const Tensor at_s = alpha_bar_s.sqrt() * split.x0 + (1 - alpha_bar_s).sqrt() * split.epsilon;
    if (options_.eta <= 0 || k == options_.steps - 1) {
      return at_s;
    }
    const Tensor ratio = alpha_bar_or(next, final_alpha_bar_) / alpha_bar_s;
    return ratio.sqrt() * at_s + (1 - ratio).sqrt() * rng.normal(output.sizes(), at_s.scalar_type(), output.device());
  }

 private:
  Prediction prediction_;
  Tensor final_alpha_bar_;  // []
};

}  // namespace

std::unique_ptr<Scheduler> make_tcd(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<Tcd>(config, options);
}

}  // namespace t2v::sampling
