// SPDX-License-Identifier: Apache-2.0
// ATen's forms of attention on a real device: each gives what ATen's own choice gives, and what was chosen can be
// recorded.
#include "engine/cuda_attention.hpp"

#include <filesystem>

#include <ATen/Context.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "engine/step_graph.hpp"
#include "support/cuda_device.hpp"
#include "support/match.hpp"
#include "tensor/operators.hpp"

namespace t2v::engine {
namespace {

class AttentionOnDevice : public testing::TestWithParam<c10::ScalarType> {
 protected:
  void SetUp() override {
    if (!test::cuda_device()) GTEST_SKIP() << "no CUDA device";
    options_ = at::TensorOptions().device(c10::kCUDA, 0).dtype(GetParam());
    device_ = make_cuda_attention(cuda_plugin(), c10::Device(c10::kCUDA, 0));
  }
  /// Inputs are the same to the bit; forms add in another order and round the weights before the second product.
  static double rounding() { return GetParam() == c10::kFloat ? 1e-5 : GetParam() == c10::kHalf ? 2e-3 : 1.5e-2; }
  at::Tensor heads(int64_t length, int64_t width) const { return at::randn({2, 5, length, width}, options_); }

  at::TensorOptions options_;
  std::unique_ptr<AttentionDevice> device_;
};

TEST_P(AttentionOnDevice, every_form_gives_what_atens_choice_gives) {
  const c10::InferenceMode guard;
  const std::optional<at::Tensor> no_bias;
  size_t alternatives = 0;
  for (const int64_t width : {40, 64, 160}) {
    for (const int64_t keys : {77, 1024}) {
      const at::Tensor q = heads(1024, width), k = heads(keys, width), v = heads(keys, width);
      const AttentionCall call{q, k, v, no_bias};
      const at::Tensor wanted = device_->compute(call, AttentionBackend::aten);
      const auto order = at::globalContext().sDPPriorityOrder();
      for (const AttentionBackend form : device_->alternatives(call)) {
        EXPECT_TRUE(test::is_close(device_->compute(call, form), wanted, rounding()))
            << backend_name(form) << " " << AttentionShape::of(call).text();
        ++alternatives;
      }
      EXPECT_EQ(at::globalContext().sDPPriorityOrder(), order);
    }
  }
  EXPECT_GT(alternatives, 0U);
}

TEST_P(AttentionOnDevice, a_choice_is_timed_before_the_recording_and_is_in_it) {
  const c10::InferenceMode guard;
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / (std::string("attention_device_") + c10::toString(GetParam()));
  std::filesystem::remove_all(folder);
  const AttentionFile file(folder / "attention.json");
  const std::optional<at::Tensor> no_bias;
  const at::Tensor q = heads(512, 64);
  const size_t choices = device_->alternatives({q, q, q, no_bias}).empty() ? 0 : 1;
  AttentionChoice choice(std::move(device_), file);
  const auto network = [&](const std::vector<at::Tensor>& in) {
    return choice.compute({in[0], in[0], in[0], no_bias});
  };
  StepGraph graph = step_graph({c10::Device(c10::kCUDA, 0), GetParam()}, 20);
  for (int step = 0; step < 6; ++step) {
    const std::vector<at::Tensor> inputs{heads(512, 64)};
    EXPECT_TRUE(at::equal(graph.run(inputs, network), network(inputs))) << step;
  }
  EXPECT_EQ(file.count(), choices);
  std::filesystem::remove_all(folder);
}

INSTANTIATE_TEST_SUITE_P(types, AttentionOnDevice, testing::Values(c10::kFloat, c10::kHalf, c10::kBFloat16),
                         [](const auto& type) { return std::string(c10::toString(type.param)); });

}  // namespace
}  // namespace t2v::engine
