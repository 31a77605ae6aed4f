// SPDX-License-Identifier: Apache-2.0
// Samplers on normally distributed data, whose best denoiser and whose exact trajectories are
// known: methods converge with their order, and stochastic ones reach the data's distribution.
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include "support.hpp"

namespace t2v::sampling::test {
namespace {

constexpr double kMean = 0.4;
constexpr double kDeviation = 0.5;
// Re-made grids end exactly at sigma_min whatever the number of steps, so errors there can be
// compared.
constexpr const char* kConfig =
    R"({"beta_schedule":"scaled_linear","beta_start":0.00085,"beta_end":0.012,"prediction_type":"sample",)"
    R"("use_karras_sigmas":true,"sigma_min":0.1,"sigma_max":10.0,"clip_sample":false})";

// Best estimate of the clean sample given x = x0 + sigma * noise.
at::Tensor denoiser(const at::Tensor& x, double sigma) {
  const double v = kDeviation * kDeviation;
  return (x * v + sigma * sigma * kMean) * (1 / (v + sigma * sigma));
}

struct Scale {
  double signal;  ///< weight of the clean sample in the state
  double sigma;   ///< noise level after division by it
};

// Level of network call i, read off the forward process.
Scale scale_at(const Scheduler& scheduler, int64_t i) {
  const at::Tensor one = pattern({1}, 0) * 0 + 1;
  const double signal = scheduler.add_noise(one, one * 0, i).item<double>();
  return {signal, scheduler.add_noise(one * 0, one, i).item<double>() / signal};
}

// Error of the state that enters the last step, against the exact trajectory.
double ode_error(const std::string& name, int64_t steps) {
  const auto scheduler = make_scheduler(name, config_of(kConfig), with_steps(steps));
  const auto last = static_cast<int64_t>(scheduler->timesteps().size()) - 1;
  Rng rng = cpu_rng();
  const Scale begin = scale_at(*scheduler, 0);
  const at::Tensor start = pattern({1, 4, 2, 2}, 0) * (begin.sigma * begin.signal);
  at::Tensor x = start;
  for (int64_t i = 0; i < last; ++i) {
    const Scale here = scale_at(*scheduler, i);
    x = scheduler->step(denoiser(x / here.signal, here.sigma), i, x, rng);
  }
  const Scale end = scale_at(*scheduler, last);
  const auto spread = [](double sigma) { return std::sqrt(kDeviation * kDeviation + sigma * sigma); };
  const at::Tensor exact = kMean + (start / begin.signal - kMean) * (spread(end.sigma) / spread(begin.sigma));
  return (x / end.signal - exact).abs().max().item<double>();
}

class Order : public testing::TestWithParam<std::pair<const char*, double>> {};

TEST_P(Order, error_shrinks_with_the_order_of_the_method) {
  const auto [name, order] = GetParam();
  const double measured = std::log2(ode_error(name, 24) / ode_error(name, 48));
  EXPECT_GT(measured, order - 0.3) << "the asymptotic order shows up to a few tenths at these step counts";
  std::printf("  %s: order %.2f, error %.1e at 48 steps\n", name, measured, ode_error(name, 48));
}

INSTANTIATE_TEST_SUITE_P(methods, Order,
                         testing::Values(std::pair{"euler", 1.0}, std::pair{"heun", 2.0}, std::pair{"dpmpp_2m", 2.0},
                                         std::pair{"unipc", 2.0}, std::pair{"deis", 2.0}, std::pair{"lms", 2.0}),
                         [](const auto& row) { return std::string(row.param.first); });

class Distribution : public testing::TestWithParam<const char*> {};

// 20,000 samples: the standard error of the mean is 0.004, of the deviation 0.0025; steps add a
// bias of the same size.
TEST_P(Distribution, samples_have_the_mean_and_deviation_of_the_data) {
  const std::string name = GetParam();
  io::Json json = config_of(kConfig).json();
  json["prediction_type"] = "epsilon";
  json.erase("sigma_min");
  json.erase("sigma_max");
  // Ancestral methods lose spread in proportion to the step; 250 steps leave less than 0.02.
  SchedulerOptions options = with_steps(250);
  options.eta = 1.0;
  options.spacing = "trailing";  // start at full noise, as the initial state does
  const auto scheduler = make_scheduler(name, io::Config(json, "scheduler_config.json"), options);
  Rng rng = cpu_rng(5);
  at::Tensor x = rng.normal({1, 4, 50, 100}, at::kFloat, at::kCPU) * scheduler->init_noise_sigma();
  const bool two_calls = name == "dpmpp_sde";
  for (int64_t i = 0; i < static_cast<int64_t>(scheduler->timesteps().size()); ++i) {
    const Scale here = scale_at(*scheduler, i);
    double sigma = here.sigma;
    if (two_calls && i % 2 == 1) {  // the second call looks at the geometric middle of this level and the last one
      sigma = std::sqrt(sigma * scale_at(*scheduler, i - 1).sigma);
    }
    const at::Tensor clean = denoiser(x / here.signal, sigma);
    x = scheduler->step((x / here.signal - clean) / sigma, i, x, rng);
  }
  EXPECT_NEAR(x.mean().item<double>(), kMean, 0.02);
  EXPECT_NEAR(x.std().item<double>(), kDeviation, 0.02);
}

INSTANTIATE_TEST_SUITE_P(methods, Distribution,
                         testing::Values("ddpm", "ddim", "euler_a", "dpmpp_2m_sde", "dpmpp_sde", "dpmpp_2m", "heun"),
                         [](const auto& row) { return std::string(row.param); });

}  // namespace
}  // namespace t2v::sampling::test
