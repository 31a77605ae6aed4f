// SPDX-License-Identifier: Apache-2.0
// Adams-Bashforth steps of order 4 on the uneven sigma grid; diffusers 0.42.1 LMSDiscreteScheduler.
#include <algorithm>
#include <array>
#include <cmath>

#include <ATen/core/Tensor.h>

#include "sampling/samplers.hpp"
#include "sampling/sigma_scheduler.hpp"

namespace t2v::sampling {
namespace {

class Lms final : public SigmaScheduler {
 public:
  Lms(const io::Config& config, const SchedulerOptions& options)
      : SigmaScheduler(config, options, {.knows_zero_snr = false}),
        prediction_(read_prediction(config, {Prediction::epsilon, Prediction::v_prediction, Prediction::sample},
                                    "LMSDiscreteScheduler")) {
    Levels level = levels(config, true);
    sigmas_ = sigma_tensor(level.sigmas, 0.0);
    set_timesteps(as_float32(level.timesteps));
  }

  Tensor step(const Tensor& output, int64_t i, const Tensor& sample, Rng&) override {
    const int64_t k = absolute(i);
    const Tensor here = sigma(k);
    derivatives_.push((sample - denoise(prediction_, output, sample, here)) / here);
    // In a run that starts late the coefficients are still those of a full history: so it is in
    // diffusers.
    const int64_t order = std::min<int64_t>(k + 1, kOrder);
    Tensor change;
    for (int64_t n = 0; n < std::min<int64_t>(order, static_cast<int64_t>(derivatives_.size())); ++n) {
      const Tensor term = coefficient(order, k, n) * derivatives_.back(static_cast<size_t>(n));
      change = n == 0 ? term : change + term;
    }
    return sample + change;
  }

  std::map<std::string, Tensor> state() const override {
    std::map<std::string, Tensor> state;
    derivatives_.save(state, "derivatives");
    return state;
  }
  void set_state(const std::map<std::string, Tensor>& state) override { derivatives_.restore(state, "derivatives"); }

 private:
  static constexpr int64_t kOrder = 4;

  // Integral over the step of the Lagrange polynomial that is 1 at the n-th newest level and 0 at
  // the others. Two-point Gauss-Legendre is exact for the cubics that occur; diffusers integrates
  // numerically to 1e-4 and gets there too.
  double coefficient(int64_t order, int64_t k, int64_t n) const {
    static const std::array<double, 2> kNodes = {-1 / std::sqrt(3.0), 1 / std::sqrt(3.0)};
    const double from = value(k);
    const double to = value(k + 1);
    double integral = 0;
    for (const double node : kNodes) {
      const double tau = 0.5 * (from + to) + 0.5 * (to - from) * node;
      double product = 1;
      for (int64_t m = 0; m < order; ++m) {
        product *= m == n ? 1.0 : (tau - value(k - m)) / (value(k - n) - value(k - m));
      }
      integral += 0.5 * (to - from) * product;
    }
    return integral;
  }
  double value(int64_t k) const { return sigma(k).item<double>(); }

  Prediction prediction_;
  History derivatives_{kOrder};
};

}  // namespace

std::unique_ptr<Scheduler> make_lms(const io::Config& config, const SchedulerOptions& options) {
  return std::make_unique<Lms>(config, options);
}

}  // namespace t2v::sampling
