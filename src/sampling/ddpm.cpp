// SPDX-License-Identifier: Apache-2.0
// Ancestral sampling (Ho et al. 2006.11239, eq. 7); diffusers 0.42.1 DDPMScheduler.
#include <algorithm>
#include <array>
#include <string_view>

#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>

#include "sampling/samplers.hpp"
#include "sampling/scheduler_base.hpp"
#include "t2v/error.hpp"

namespace t2v::sampling {
namespace {

constexpr std::array<std::string_view, 5> kVarianceTypes = {"fixed_small", "fixed_small_log", "fixed_large", "learned",
                                                            "learned_range"};

class Ddpm final : public DiscreteScheduler {
 public:
  Ddpm(const io::Config& config, const SchedulerOptions& options)
      : DiscreteScheduler(config, options, {.extra_schedule = "sigmoid laplace"}),
        prediction_(read_prediction(config, {Prediction::epsilon, Prediction::v_prediction, Prediction::sample},
                                    "DDPMScheduler")),
        variance_type_(config.get_string("variance_type", "fixed_small")),
        clip_sample_(config.get_bool("clip_sample", true)),
        clip_range_(config.get_double("clip_sample_range", 1.0)) {
    config.require("thresholding", false, "dynamic thresholding is for pixel-space models");
    // fixed_large_log is missing: diffusers takes the square root of a negative logarithm there and
    // returns NaN.
    if (std::find(kVarianceTypes.begin(), kVarianceTypes.end(), variance_type_) == kVarianceTypes.end()) {
      throw Error(ErrorCode::unsupported, where_ +
                                              ": variance_type: wanted fixed_small, fixed_small_log, fixed_large, "
                                              "learned or learned_range, got '" +
                                              variance_type_ + "'");
    }
    set_timesteps(spaced_timesteps(grid(noise_, "leading"), true));
    check_timesteps(prediction_, clip_sample_);
  }

  // output [B, C, ...], or [B, 2C, ...] when the network predicts the variance too.
  Tensor step(const Tensor& output, int64_t i, const Tensor& sample, Rng& rng) override {
    const int64_t k = absolute(i);
    const int64_t t = timestep(k);
    const Tensor alpha_bar = noise_.alpha_bar(t);
    const Tensor previous = k + 1 < call_count() ? alpha_bar_or(timestep(k + 1), one_) : one_;

    const int64_t channels = sample.size(1);
    const bool has_variance = is_learned() && output.size(1) == 2 * channels;
    const Tensor mean_output = has_variance ? output.slice(1, 0, channels) : output;
    if (is_learned() && !has_variance) {
      throw Error(ErrorCode::bad_input, where_ + ": variance_type: '" + variance_type_ + "' wanted a network with " +
                                            std::to_string(2 * channels) + " output channels, got " +
                                            std::to_string(output.size(1)));
    }

    Tensor x0 = split_prediction(prediction_, mean_output, sample, alpha_bar).x0;
    if (clip_sample_) {
      x0 = x0.clamp(-clip_range_, clip_range_);
    }
    const Tensor alpha = alpha_bar / previous;
    const Tensor x0_weight = previous.pow(0.5) * (1 - alpha) / (1 - alpha_bar);
    const Tensor sample_weight = alpha.pow(0.5) * (1 - previous) / (1 - alpha_bar);
    const Tensor mean = x0_weight * x0 + sample_weight * sample;
    if (t <= 0) {  // the last step is its mean; nothing is drawn
      return mean;
    }
    const Tensor noise = rng.normal_like(mean_output);
    const Tensor predicted = has_variance ? output.slice(1, channels) : Tensor();
    return mean + deviation(alpha_bar, previous, predicted) * noise;
  }

 private:
  bool is_learned() const { return variance_type_ == "learned" || variance_type_ == "learned_range"; }

  Tensor deviation(const Tensor& alpha_bar, const Tensor& previous, const Tensor& predicted) const {
    const Tensor beta = 1 - alpha_bar / previous;
    const Tensor small = ((1 - previous) / (1 - alpha_bar) * beta).clamp_min(1e-20);
    if (variance_type_ == "fixed_small_log") {
      return (0.5 * small.log()).exp();
    }
    if (variance_type_ == "learned_range") {
      const Tensor fraction = (predicted + 1) / 2;
      return (0.5 * (fraction * beta.log() + (1 - fraction) * small.log())).exp();
    }
    return (variance_type_ == "fixed_large" ? beta : variance_type_ == "learned" ? predicted : small).pow(0.5);
  }

  Prediction prediction_;
  std::string variance_type_;
  bool clip_sample_;
  double clip_range_;
  Tensor one_ = at::ones({});
};

}  // namespace

std::unique_ptr<Scheduler> make_ddpm(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<Ddpm>(config, options);
}

}  // namespace t2v::sampling
