// SPDX-License-Identifier: Apache-2.0
// Recorded steps on a real device: the bits of the calls themselves, and a device that still works after a recording
// failed.
#include <ATen/ops/conv2d.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "engine/cuda_plugin.hpp"
#include "engine/step_graph.hpp"
#include "support/cuda_device.hpp"
#include "tensor/operators.hpp"

namespace t2v::engine {
namespace {

using Inputs = std::vector<at::Tensor>;

class StepGraphOnDevice : public testing::TestWithParam<c10::ScalarType> {
 protected:
  void SetUp() override {
    if (!test::cuda_device()) GTEST_SKIP() << "no CUDA device";
    options_ = at::TensorOptions().device(c10::kCUDA, 0).dtype(GetParam());
    weight_ = at::randn({32, 32, 3, 3}, options_) * 0.1;
  }
  at::Tensor network(const Inputs& in) const {
    return at::silu(at::conv2d(in[0], weight_, {}, /*stride=*/1, /*padding=*/1)) + in[1];
  }
  /// Ten steps, each held against the plain call.
  void expect_the_calls_bits(const StepGraph::Work& work) const {
    const c10::InferenceMode guard;
    StepGraph graph = step_graph({c10::Device(c10::kCUDA, 0), GetParam()}, 20);
    for (int step = 0; step < 10; ++step) {
      const Inputs inputs{at::randn({4, 32, 24, 24}, options_), at::randn({1, 32, 1, 1}, options_)};
      EXPECT_TRUE(at::equal(graph.run(inputs, work), network(inputs))) << step;
    }
  }
  at::TensorOptions options_;
  at::Tensor weight_;
};

TEST_P(StepGraphOnDevice, gives_the_bits_of_the_calls) {
  expect_the_calls_bits([this](const Inputs& in) { return network(in); });
}

TEST_P(StepGraphOnDevice, a_failed_recording_leaves_a_device_that_works) {
  expect_the_calls_bits([this](const Inputs& in) {
    in[1].flatten()[0].item();  // waits for the device, which no recording allows
    return network(in);
  });
  EXPECT_NO_THROW(cuda_empty_cache());
  expect_the_calls_bits([this](const Inputs& in) { return network(in); });
}

INSTANTIATE_TEST_SUITE_P(types, StepGraphOnDevice, testing::Values(c10::kFloat, c10::kHalf, c10::kBFloat16),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

}  // namespace
}  // namespace t2v::engine
