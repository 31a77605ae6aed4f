// SPDX-License-Identifier: Apache-2.0
// A run of recorded whole steps on a real device is the run of the calls, with the same noise, whichever generator
// draws it.
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "engine/sample.hpp"
#include "sampling/support.hpp"
#include "support/cuda_device.hpp"
#include "tensor/operators.hpp"

namespace t2v::engine {
namespace {

const std::vector<int64_t> kShape{1, 4, 4, 8, 8};

const char* kConfig =
    R"({"_class_name":"DDIMScheduler","beta_schedule":"scaled_linear","beta_start":0.00085,"beta_end":0.012,)"
    R"("prediction_type":"epsilon","clip_sample":false,"steps_offset":1,"set_alpha_to_one":false})";

/// A function of its input and of the step's number.
class Network final : public sampling::Denoiser {
 public:
  at::Tensor predict(const at::Tensor& x, const sampling::StepContext& step) override {
    return (x * 0.7).sin() * 0.5 + time_of(step, x.device());
  }
  std::optional<sampling::TensorCall> tensor_call(const sampling::StepContext& step) override {
    return sampling::TensorCall{
        time_of(step, c10::Device(c10::kCUDA, 0)), 0,
        [](const at::Tensor& x, const at::Tensor& time) { return (x * 0.7).sin() * 0.5 + time; }};
  }

 private:
  static at::Tensor time_of(const sampling::StepContext& step, c10::Device device) {
    return at::tensor({0.01F * static_cast<float>(step.index)}).to(device);
  }
};

struct Sampled {
  at::Tensor latents, generator;
};

class WholeStepsOnDevice : public testing::TestWithParam<std::tuple<const char*, c10::DeviceType>> {
 protected:
  void SetUp() override {
    if (!test::cuda_device()) GTEST_SKIP() << "no CUDA device";
  }
  Sampled run(StepGraph* graph) const {
    const auto [sampler, generator] = GetParam();
    sampling::SchedulerOptions options;
    options.steps = 12;
    options.eta = 0.5;
    const auto scheduler = sampling::make_scheduler(sampler, sampling::test::config_of(kConfig), options);
    Rng rng(7, generator == c10::kCPU ? c10::Device(c10::kCPU) : c10::Device(c10::kCUDA, 0));
    Network network;
    Progress progress;
    const at::Tensor start = sampling::test::pattern(kShape, 5) * scheduler->init_noise_sigma();
    const SampleOptions how{.network_dtype = c10::kHalf, .graph = graph};
    const at::Tensor latents = sample(*scheduler, start.to(c10::Device(c10::kCUDA, 0)), network, rng, progress, how);
    return {latents.to(c10::kCPU), rng.state()};
  }
};

TEST_P(WholeStepsOnDevice, make_the_run_of_the_calls_with_the_same_noise) {
  const c10::InferenceMode guard;
  StepGraph graph = step_graph({c10::Device(c10::kCUDA, 0), c10::kHalf}, 12);
  const Sampled want = run(nullptr), got = run(&graph);
  const double error = ((got.latents - want.latents).norm() / want.latents.norm()).item<double>();
  EXPECT_LT(error, 2e-5);  // fp32 in another order of roundings
  EXPECT_TRUE(at::equal(got.generator, want.generator));
}

INSTANTIATE_TEST_SUITE_P(, WholeStepsOnDevice,
                         testing::Combine(testing::Values("dpmpp_2m", "ddim", "euler_a", "dpmpp_sde", "lcm"),
                                          testing::Values(c10::kCPU, c10::kCUDA)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) == c10::kCPU ? "_cpu" : "_cuda");
                         });

}  // namespace
}  // namespace t2v::engine
