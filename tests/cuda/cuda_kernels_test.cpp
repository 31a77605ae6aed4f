// SPDX-License-Identifier: Apache-2.0
// What layers get of a plug-in's kernels: those that equal ATen on the device, here the emulated one.
#include "engine/cuda_kernels.hpp"

#include <cmath>
#include <memory>

#include <ATen/ops/equal.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <gtest/gtest.h>

#include "emulated/plugin.hpp"
#include "engine/frames.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "tensor/operators.hpp"

namespace t2v::engine {
namespace {

using test::formula_tensor;

const c10::Device kEmulated(c10::kCPU);

class CudaKernelsOf : public testing::TestWithParam<c10::ScalarType> {
 protected:
  static double tolerance() {
    return GetParam() == c10::kFloat ? 2e-6 : GetParam() == c10::kHalf ? 2e-3 : 1.6e-2;  // a rounding of either form
  }
  static at::Tensor input(const std::string& name, at::IntArrayRef shape) {
    return formula_tensor(name, shape.vec()).to(GetParam());
  }
  static void SetUpTestSuite() { kernels_ = std::make_unique<CudaKernels>(cuda::emulated_plugin(), kEmulated); }
  static void TearDownTestSuite() { kernels_.reset(); }
  static inline std::unique_ptr<CudaKernels> kernels_;
};

TEST_P(CudaKernelsOf, group_norm_is_that_of_aten_in_any_layout) {
  const at::Tensor weight = input("weight", {48}), bias = input("bias", {48});
  const at::Tensor x = input("x", {3, 48, 10, 6});
  for (const at::Tensor& laid_out : {x, x.contiguous(at::MemoryFormat::ChannelsLast)}) {
    const auto out = kernels_->group_norm(laid_out, {weight, bias, 8, 1e-6, false});
    ASSERT_TRUE(out);
    EXPECT_TRUE(out->is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT_TRUE(test::is_close(*out, at::group_norm(x, 8, weight, bias, 1e-6), tolerance()));
  }
}

TEST_P(CudaKernelsOf, group_norm_adds_what_its_video_is_shifted_by) {
  const at::Tensor weight = input("weight", {48}), bias = input("bias", {48}), shift = input("shift", {2, 48});
  const at::Tensor x = input("x", {6, 48, 10, 6});
  const auto out = kernels_->group_norm(x, {weight, bias, 8, 1e-6, true, shift});
  ASSERT_TRUE(out);
  const at::Tensor shifted = (x.view({2, 3, 48, 10, 6}) + shift.view({2, 1, 48, 1, 1})).flatten(0, 1);
  EXPECT_TRUE(test::is_close(*out, at::silu(at::group_norm(shifted, 8, weight, bias, 1e-6)), 2 * tolerance()));
  EXPECT_FALSE(kernels_->group_norm(x, {weight, bias, 8, 1e-6, true, shift.to(c10::kDouble)}));
}

TEST_P(CudaKernelsOf, rgb_has_the_bytes_of_aten_and_finds_what_is_not_finite) {
  const at::Tensor frames = input("frames", {3, 3, 6, 10}) * 1.3;
  for (const at::Tensor& laid_out : {frames, frames.contiguous(at::MemoryFormat::ChannelsLast)}) {
    const auto made = kernels_->frames_to_rgb8(laid_out);
    ASSERT_TRUE(made);
    EXPECT_TRUE(at::equal(made->rgb, rgb8_of(frames)));
    EXPECT_EQ(made->not_finite.item<int>(), 0);
  }
  const at::Tensor broken = frames.clone();
  broken.select(0, 1).select(0, 2).select(0, 3).select(0, 4).fill_(NAN);
  EXPECT_NE(kernels_->frames_to_rgb8(broken)->not_finite.item<int>(), 0);
  EXPECT_FALSE(kernels_->frames_to_rgb8(frames.to(c10::kDouble)));
}

TEST_P(CudaKernelsOf, geglu_is_that_of_aten) {
  const at::Tensor x = input("x", {2, 3, 5, 2 * 36});
  const auto out = kernels_->geglu(x);
  ASSERT_TRUE(out);
  EXPECT_TRUE(test::is_close(*out, at::gelu(x.narrow(-1, 36, 36)) * x.narrow(-1, 0, 36), tolerance()));
}

TEST_P(CudaKernelsOf, a_sum_with_bias_is_that_of_aten) {
  const auto image = [](const char* name) {
    return input(name, {3, 48, 5, 7}).contiguous(at::MemoryFormat::ChannelsLast);
  };
  const at::Tensor x = image("x"), start = image("sum"), bias = input("bias", {48});
  at::Tensor sum = start.clone();
  ASSERT_TRUE(kernels_->add_biased(sum, x, bias, 0.5));
  EXPECT_TRUE(test::is_close(sum, start + 0.5 * (x + bias.view({1, 48, 1, 1})), tolerance()));
  at::Tensor contiguous = start.contiguous();
  EXPECT_FALSE(kernels_->add_biased(contiguous, x, bias, 0.5)) << "another layout";
  EXPECT_FALSE(kernels_->add_biased(sum, x.narrow(0, 0, 2), bias, 0.5));
  EXPECT_FALSE(kernels_->add_biased(sum, x, input("bias", {49}).narrow(0, 1, 48), 0.5)) << "not at 16 bytes";
}

TEST_P(CudaKernelsOf, layer_norm_is_that_of_aten_with_an_offset_and_positions) {
  const at::Tensor x = input("x", {2, 3, 5, 40}), weight = input("weight", {40}), bias = input("bias", {40}),
                   offset = input("offset", {40}), positions = input("positions", {3, 1, 40});
  const auto plain = kernels_->layer_norm(x, {weight, bias, 1e-5});
  ASSERT_TRUE(plain);
  EXPECT_TRUE(test::is_close(*plain, at::layer_norm(x, {40}, weight, bias, 1e-5), tolerance()));
  const auto all = kernels_->layer_norm(x, {weight, bias, 1e-5, offset, positions});
  ASSERT_TRUE(all);
  EXPECT_TRUE(test::is_close(*all, at::layer_norm(x + offset, {40}, weight, bias, 1e-5) + positions, 2 * tolerance()));
  const auto part = kernels_->layer_norm(x, {weight, bias, 1e-5, std::nullopt, positions});
  ASSERT_TRUE(part);
  EXPECT_TRUE(test::is_close(*part, at::layer_norm(x, {40}, weight, bias, 1e-5) + positions, 2 * tolerance()));
}

TEST_P(CudaKernelsOf, frame_attention_is_that_of_aten) {
  const at::Tensor qkv = input("qkv", {1, 24, 7, 3 * 4 * 16});
  const auto out = kernels_->frame_attention(qkv, 4);
  ASSERT_TRUE(out);
  const at::Tensor apart = qkv.view({24, 7, 3, 4, 16}).permute({2, 1, 3, 0, 4});  // [3, P, N, F, D]
  const at::Tensor wanted = at::scaled_dot_product_attention(apart[0], apart[1], apart[2]);
  EXPECT_TRUE(test::is_close(out->view({24, 7, 4, 16}), wanted.permute({2, 0, 1, 3}), tolerance()));
}

TEST_P(CudaKernelsOf, what_a_kernel_does_not_take_is_left_to_aten) {
  EXPECT_FALSE(kernels_->frame_attention(input("qkv", {1, 512, 2, 3 * 160}), 1));  // more than a block's memory
  EXPECT_FALSE(kernels_->geglu(input("x", {4, 10}).transpose(0, 1)));
  EXPECT_FALSE(kernels_->geglu(input("x", {4, 10}).to(c10::kDouble)));
  EXPECT_FALSE(
      kernels_->group_norm(input("x", {1, 600, 2, 2}), {input("w", {600}), input("b", {600}), 600, 1e-5, false}));
  const at::Tensor weight = input("w", {40}), wide = input("w", {4096});
  EXPECT_TRUE(kernels_->layer_norm(input("x", {3, 40}), {weight, weight, 1e-5}));
  EXPECT_FALSE(kernels_->layer_norm(input("x", {3, 4096}), {wide, wide, 1e-5}));
  EXPECT_FALSE(kernels_->layer_norm(input("x", {40, 40}).t(), {weight, weight, 1e-5}));
  EXPECT_FALSE(kernels_->layer_norm(input("x", {3, 40}), {weight, weight, 1e-5, weight.to(c10::kDouble)}));
}

INSTANTIATE_TEST_SUITE_P(types, CudaKernelsOf, testing::Values(c10::kFloat, c10::kHalf, c10::kBFloat16),
                         [](const auto& row) { return std::string(c10::toString(row.param)); });

TEST(CudaKernels, one_that_is_wrong_on_the_device_is_left_out) {
  cuda::PluginApi wrong = cuda::emulated_plugin();
  wrong.geglu = [](int device, const cuda::GegluJob& job) {
    cuda::GegluJob other = job;
    other.rows -= 1;  // as if the last row were forgotten
    return cuda::emulated_plugin().geglu(device, other);
  };
  wrong.frame_attention = [](int, const cuda::FrameAttentionJob&) { return 1; };
  wrong.layer_norm = [](int device, const cuda::LayerNormJob& job) {
    cuda::LayerNormJob other = job;
    other.offset = nullptr;
    return cuda::emulated_plugin().layer_norm(device, other);
  };
  const CudaKernels kernels(wrong, kEmulated);
  EXPECT_FALSE(
      kernels.layer_norm(formula_tensor("x", {4, 10}), {formula_tensor("w", {10}), formula_tensor("b", {10}), 1e-5}));
  EXPECT_FALSE(kernels.geglu(formula_tensor("x", {4, 10})));
  EXPECT_FALSE(kernels.frame_attention(formula_tensor("qkv", {1, 4, 2, 24}), 2));
  EXPECT_TRUE(kernels.group_norm(formula_tensor("x", {1, 8, 2, 2}),
                                 {formula_tensor("w", {8}), formula_tensor("b", {8}), 2, 1e-5, false}));
}

}  // namespace
}  // namespace t2v::engine
