// SPDX-License-Identifier: Apache-2.0
// Euler steps to a lower level than asked, then noise up to it; diffusers 0.42.1
// EulerAncestralDiscreteScheduler. Sigma grids are ours: the diffusers class has none, so only
// --sigmas brings them in.
#include <ATen/core/Tensor.h>

#include "sampling/samplers.hpp"
#include "sampling/sigma_scheduler.hpp"

namespace t2v::sampling {
namespace {

class EulerAncestral final : public SigmaScheduler {
 public:
  EulerAncestral(const io::Config& config, const SchedulerOptions& options)
      : SigmaScheduler(config, options, {.finite_first_sigma = true}),
        prediction_(read_prediction(config, {Prediction::epsilon, Prediction::v_prediction},
                                    "EulerAncestralDiscreteScheduler")) {
    Levels level = levels(config, false);
    sigmas_ = sigma_tensor(level.sigmas, 0.0);
    set_timesteps(as_float32(level.timesteps));
  }

  Tensor step(const Tensor& output, int64_t i, const Tensor& sample_in, Rng& rng) override {
    const int64_t k = absolute(i);
    const Tensor sample = sample_in.to(at::kFloat);
    const Tensor from = sigma(k);
    const Tensor to = sigma(k + 1);
    const Tensor x0 = denoise(prediction_, output, sample, from);
    const Tensor up = (to.pow(2) * (from.pow(2) - to.pow(2)) / from.pow(2)).pow(0.5);
    const Tensor down = (to.pow(2) - up.pow(2)).pow(0.5);
    const Tensor derivative = (sample - x0) / from;
    const Tensor mean = sample + derivative * (down - from);
    // Drawn at the last step too, where it is multiplied by 0: the generator must advance as in
    // diffusers.
    return (mean + rng.normal_like(output) * up).to(output.scalar_type());
  }

 private:
  Prediction prediction_;
};

}  // namespace

std::unique_ptr<Scheduler> make_euler_ancestral(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<EulerAncestral>(config, options);
}

}  // namespace t2v::sampling
