// SPDX-License-Identifier: Apache-2.0
// Euler steps along a flow, x = (1 - sigma) x0 + sigma noise (Lipman et al. 2210.02747; Esser et
// al. 2403.03206); diffusers 0.42.1 FlowMatchEulerDiscreteScheduler. It shifts twice: the ends of
// the grid come from a table that is shifted already, and the grid between them is shifted again.
// Kept, because published defaults were chosen with it.
#include <cmath>

#include <ATen/core/Tensor.h>
#include <ATen/ops/linspace.h>

#include "sampling/log_snr.hpp"
#include "sampling/samplers.hpp"
#include "t2v/error.hpp"

namespace t2v::sampling {
namespace {

class FlowEuler final : public SchedulerBase {
 public:
  FlowEuler(const io::Config& config, const SchedulerOptions& options)
      : SchedulerBase(config, options),
        train_steps_(config.get_int("num_train_timesteps", 1000, 2, 1000000)),
        shift_(options.flow_shift.value_or(config.get_double("shift", 1.0))),
        dynamic_(config.get_bool("use_dynamic_shifting", false)),
        stochastic_(config.get_bool("stochastic_sampling", false)) {
    if (!(shift_ > 0)) {
      throw Error(ErrorCode::usage, where_ + ": shift: wanted more than 0, got " + std::to_string(shift_));
    }
    // A flow is its own parametrisation; a prediction type in the config belongs to another class
    // and is not read.
    Tensor levels = sigma_tensor(make_sigmas(config), std::nullopt);
    double last = 0.0;
    Tensor timesteps = levels * static_cast<double>(train_steps_);
    if (config.get_bool("invert_sigmas", false)) {
      levels = 1.0 - levels;
      timesteps = levels * static_cast<double>(train_steps_);
      last = 1.0;
    }
    const float* values = levels.const_data_ptr<float>();
    sigmas_ = sigma_tensor(std::vector<double>(values, values + levels.numel()), last);
    const float* t = timesteps.const_data_ptr<float>();
    set_timesteps(std::vector<double>(t, t + timesteps.numel()));
  }

  Tensor step(const Tensor& output, int64_t i, const Tensor& sample_in, Rng& rng) override {
    const int64_t k = absolute(i);
    const Tensor sample = sample_in.to(at::kFloat);
    const Tensor here = sigmas_[k];
    const Tensor next = sigmas_[k + 1];
    if (!stochastic_) {
      return (sample + (next - here) * output).to(output.scalar_type());
    }
    const Tensor x0 = sample - here * output;
    return ((1.0 - next) * x0 + next * rng.normal_like(sample)).to(output.scalar_type());
  }

  Tensor add_noise(const Tensor& original, const Tensor& noise, int64_t i) const override {
    const Tensor sigma = sigmas_[absolute(i)].to(original.scalar_type()).to(original.device()).reshape({1});
    return sigma * noise + (1.0 - sigma) * original;
  }

 private:
  // Ends of the trained grid: fp32, like the table they are the first and last entry of.
  double trained_sigma(double t) const {
    const Tensor sigma =
        at::linspace(t, t, 1, at::TensorOptions().dtype(at::kFloat)) / static_cast<double>(train_steps_);
    return (dynamic_ ? sigma : shift_ * sigma / (1 + (shift_ - 1) * sigma)).item<double>();
  }

  double shifted(const io::Config& config, double sigma) const {
    if (!dynamic_) {
      return shift_sigma(sigma, shift_);
    }
    const double mu = dynamic_shift(config, options_);
    const std::string type = config.get_string("time_shift_type", "exponential");
    if (type != "exponential" && type != "linear") {
      throw Error(ErrorCode::unsupported,
                  where_ + ": time_shift_type: wanted exponential or linear, got '" + type + "'");
    }
    const double factor = type == "exponential" ? std::exp(mu) : mu;
    return factor / (factor + (1 / sigma - 1));
  }

  std::vector<double> make_sigmas(const io::Config& config) const {
    const auto count = static_cast<double>(train_steps_);
    const SigmaGrid kind = sigma_grid(config);
    std::vector<double> sigmas = linspace(trained_sigma(count) * count, trained_sigma(1) * count, options_.steps);
    if (kind == SigmaGrid::sgm_uniform || kind == SigmaGrid::simple) {
      sigmas = uniform_timesteps(kind, train_steps_, options_.steps);
      for (double& t : sigmas) {
        t += 1;  // a flow's trained timesteps are 1 to T
      }
    }
    for (double& sigma : sigmas) {
      sigma = shifted(config, sigma / count);
    }
    // null, 0 and absence all mean "no terminal".
    if (const double terminal = config.get_double("shift_terminal", 0.0); terminal != 0.0) {
      const double scale = (1 - sigmas.back()) / (1 - terminal);
      for (double& sigma : sigmas) {
        sigma = 1 - (1 - sigma) / scale;
      }
    }
    if (kind == SigmaGrid::karras || kind == SigmaGrid::exponential || kind == SigmaGrid::beta) {
      const SigmaRange ends = {.max = sigmas.front(), .min = sigmas.back()};
      sigmas = remade_sigmas(kind, configured_range(config, ends), options_.steps);
    }
    return sigmas;
  }

  int64_t train_steps_;
  double shift_;
  bool dynamic_;
  bool stochastic_;
  Tensor sigmas_;  // [calls + 1] fp32
};

}  // namespace

std::unique_ptr<Scheduler> make_flow_euler(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<FlowEuler>(config, options);
}

}  // namespace t2v::sampling
