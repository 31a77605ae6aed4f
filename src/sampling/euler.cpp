// SPDX-License-Identifier: Apache-2.0
// Euler steps of the probability-flow ODE (Karras et al. 2206.00364, Algorithm 2 without churn and
// correction); diffusers 0.42.1 EulerDiscreteScheduler.
#include <cmath>

#include <ATen/core/Tensor.h>
#include <ATen/ops/linspace.h>

#include "sampling/samplers.hpp"
#include "sampling/sigma_scheduler.hpp"
#include "t2v/error.hpp"

namespace t2v::sampling {
namespace {

class Euler final : public SigmaScheduler {
 public:
  Euler(const io::Config& config, const SchedulerOptions& options)
      : SigmaScheduler(config, options, {.finite_first_sigma = true}), prediction_(prediction_of(config)) {
    Levels level = levels(config, false);
    const std::string interpolation = config.get_string("interpolation_type", "linear");
    if (interpolation == "log_linear") {
      use_log_linear(config, level);
    } else if (interpolation != "linear") {
      throw Error(ErrorCode::unsupported,
                  where_ + ": interpolation_type: wanted linear or log_linear, got '" + interpolation + "'");
    }
    const std::string last = config.get_string("final_sigmas_type", "zero");
    if (last != "zero" && last != "sigma_min") {
      throw Error(ErrorCode::unsupported, where_ + ": final_sigmas_type: wanted zero or sigma_min, got '" + last + "'");
    }
    sigmas_ = sigma_tensor(level.sigmas, last == "zero" ? 0.0 : table_.min());
    const std::string type = config.get_string("timestep_type", "discrete");
    if (type == "continuous" && prediction_ == Prediction::v_prediction) {
      // EDM preconditioning (Stable Video Diffusion): the network takes ln(sigma) / 4.
      for (size_t n = 0; n < level.timesteps.size(); ++n) {
        level.timesteps[n] = (0.25 * sigma(static_cast<int64_t>(n)).log()).item<double>();
      }
    }
    set_timesteps(as_float32(level.timesteps));
  }

  Tensor step(const Tensor& output, int64_t i, const Tensor& sample_in, Rng&) override {
    const int64_t k = absolute(i);
    const Tensor sample = sample_in.to(at::kFloat);
    const Tensor level = sigma(k);
    const Tensor x0 = denoise(prediction_, output, sample, level);
    const Tensor derivative = (sample - x0) / level;
    return (sample + derivative * (sigma(k + 1) - level)).to(output.scalar_type());
  }

 private:
  static Prediction prediction_of(const io::Config& config) {
    // An old spelling this class still accepts.
    return config.get_string("prediction_type", "epsilon") == "original_sample"
               ? Prediction::sample
               : read_prediction(config, {Prediction::epsilon, Prediction::v_prediction, Prediction::sample},
                                 "EulerDiscreteScheduler");
  }

  // One value more than there are steps, so the schedule ends in two small sigmas: odd, but what
  // diffusers does. The re-made grids replace it, and take their ends from it.
  void use_log_linear(const io::Config& config, Levels& level) const {
    const Tensor line =
        at::linspace(table_.log_max(), table_.log_min(), options_.steps + 1, at::TensorOptions().dtype(at::kFloat))
            .exp();
    const float* values = line.const_data_ptr<float>();
    std::vector<double> sigmas(values, values + line.numel());
    const SigmaGrid kind = sigma_grid(config);
    if (kind == SigmaGrid::karras || kind == SigmaGrid::exponential || kind == SigmaGrid::beta) {
      const SigmaRange ends = {.max = sigmas.front(), .min = sigmas.back()};
      level.sigmas = remade_sigmas(kind, configured_range(config, ends), options_.steps);
      level.timesteps = table_.timestep(level.sigmas);
    } else if (kind == SigmaGrid::table) {
      level.sigmas = std::move(sigmas);
    }
  }

  Prediction prediction_;
};

}  // namespace

std::unique_ptr<Scheduler> make_euler(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<Euler>(config, options);
}

}  // namespace t2v::sampling
