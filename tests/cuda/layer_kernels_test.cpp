// SPDX-License-Identifier: Apache-2.0
// The CUDA forms of layers against the plain references that the CPU forms are held to: on a device where there is one,
// and always emulated on the CPU.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "emulated/plugin.hpp"
#include "engine/cuda_plugin.hpp"
#include "media/color.hpp"
#include "nn/kernels/frame_attention.hpp"
#include "nn/kernels/geglu.hpp"
#include "nn/kernels/group_norm.hpp"
#include "nn/kernels/layer_norm.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "tensor/operators.hpp"

namespace t2v::cuda {
namespace {

using test::formula_tensor;

ElementType element_type(c10::ScalarType type) {
  return type == c10::kHalf ? ElementType::fp16 : type == c10::kBFloat16 ? ElementType::bf16 : ElementType::fp32;
}

/// Results are rounded to the type; inputs are rounded before both forms see them.
double tolerance(c10::ScalarType type) { return type == c10::kHalf ? 1e-3 : type == c10::kBFloat16 ? 8e-3 : 2e-6; }

class LayerKernels : public testing::TestWithParam<std::tuple<c10::DeviceType, c10::ScalarType>> {
 protected:
  void SetUp() override {
    if (device().is_cpu()) {
      api_ = &emulated_plugin();
      return;
    }
    if (!engine::cuda_likely()) GTEST_SKIP() << "no NVIDIA driver on this machine";
    api_ = &engine::open_cuda_plugin(std::filesystem::path(T2V_BINARY_DIR) / "libt2v_cuda.so");
    int devices = 0;
    if (api_->device_count(&devices) != 0 || devices == 0) GTEST_SKIP() << "no CUDA device on this machine";
  }
  static c10::Device device() {
    return c10::Device(std::get<0>(GetParam()), std::get<0>(GetParam()) == c10::kCPU ? -1 : 0);
  }
  static c10::ScalarType type() { return std::get<1>(GetParam()); }

  /// As the kernel sees it, and the same values in fp32 for the reference.
  std::pair<at::Tensor, at::Tensor> input(const std::string& name, at::IntArrayRef shape) const {
    const at::Tensor rounded = formula_tensor(name, shape.vec()).to(type());
    return {rounded.to(device()), rounded.to(c10::kFloat)};
  }
  const PluginApi* api_ = nullptr;
};

TEST_P(LayerKernels, group_norm_equals_the_plain_form) {
  struct Row {
    int64_t images, pixels, channels, groups, images_per_video;
    bool has_shift, silu;
  };
  for (const Row& r : {Row{4, 64, 320, 32, 2, true, true}, Row{1, 5000, 640, 32, 1, false, true},
                       Row{2, 1, 12, 4, 1, false, false}, Row{3, 33, 2560, 32, 3, true, false},
                       Row{1, 70, 250, 250, 1, false, true}, Row{2, 65, 4104, 8, 1, false, true}}) {
    const auto [x, wide_x] = input("x", {r.images, r.pixels, r.channels});
    const auto [weight, wide_weight] = input("weight", {r.channels});
    const auto [bias, wide_bias] = input("bias", {r.channels});
    const auto [shift, wide_shift] = input("shift", {r.images / r.images_per_video, r.channels});
    at::Tensor out = at::empty(x.sizes(), x.options());
    GroupNormJob job{x.const_data_ptr(),
                     weight.const_data_ptr(),
                     bias.const_data_ptr(),
                     r.has_shift ? shift.const_data_ptr() : nullptr,
                     out.mutable_data_ptr(),
                     element_type(type()),
                     r.images,
                     r.pixels,
                     r.channels,
                     r.groups,
                     r.images_per_video,
                     1e-5,
                     r.silu,
                     nullptr};
    at::Tensor scratch = at::empty({group_norm_scratch(job)}, x.options().dtype(c10::kFloat));
    job.scratch = scratch.mutable_data_ptr<float>();
    ASSERT_EQ(api_->group_norm(0, job), 0) << api_->last_error();

    at::Tensor shifted = wide_x.clone();
    if (r.has_shift) shifted.add_(wide_shift.repeat_interleave(r.images_per_video, 0).unsqueeze(1));
    at::Tensor plain = at::empty(wide_x.sizes(), wide_x.options());
    nn::kernels::group_norm_reference({.x = {shifted.const_data_ptr<float>(), nullptr},
                                       .weight = wide_weight.const_data_ptr<float>(),
                                       .bias = wide_bias.const_data_ptr<float>(),
                                       .out = plain.mutable_data_ptr<float>()},
                                      {r.images, r.pixels, r.groups, {r.channels, 0}, 1e-5, r.silu});
    EXPECT_TRUE(test::is_close(out, plain, tolerance(type()))) << r.channels;
  }
}

TEST_P(LayerKernels, group_norm_gives_the_same_bits_every_time) {
  const auto [x, wide] = input("x", {2, 777, 320});
  const auto [weight, wide_weight] = input("weight", {320});
  at::Tensor first;
  for (int i = 0; i < 5; ++i) {
    at::Tensor out = at::empty(x.sizes(), x.options());
    GroupNormJob job{x.const_data_ptr(),
                     weight.const_data_ptr(),
                     weight.const_data_ptr(),
                     nullptr,
                     out.mutable_data_ptr(),
                     element_type(type()),
                     2,
                     777,
                     320,
                     32,
                     1,
                     1e-5,
                     true,
                     nullptr};
    at::Tensor scratch = at::empty({group_norm_scratch(job)}, x.options().dtype(c10::kFloat));
    job.scratch = scratch.mutable_data_ptr<float>();
    ASSERT_EQ(api_->group_norm(0, job), 0) << api_->last_error();
    if (!first.defined()) first = out;
    EXPECT_TRUE(at::equal(out, first));
  }
}

TEST_P(LayerKernels, frame_attention_equals_the_plain_form) {
  for (const nn::kernels::FrameAttentionShape& s : {nn::kernels::FrameAttentionShape{1, 16, 64, 4, 32},
                                                    {2, 24, 9, 5, 64},
                                                    {1, 1, 3, 1, 8},
                                                    {1, 32, 2, 2, 96},
                                                    {3, 17, 3, 3, 40},
                                                    {1, 24, 2, 1, 160},
                                                    {1, 7, 5, 2, 6},
                                                    {2, 9, 3, 1, 20}}) {
    const auto [qkv, wide] = input("qkv", {s.batch, s.frames, s.positions, 3, s.heads, s.head_dim});
    const std::vector<int64_t> shape{s.batch, s.frames, s.positions, s.heads, s.head_dim};
    at::Tensor out = at::empty(shape, qkv.options()), plain = at::empty(shape, wide.options());
    ASSERT_EQ(api_->frame_attention(0, {qkv.const_data_ptr(), out.mutable_data_ptr(), element_type(type()), s.batch,
                                        s.frames, s.positions, s.heads, s.head_dim}),
              0)
        << api_->last_error();
    nn::kernels::frame_attention_reference(wide.const_data_ptr<float>(), plain.mutable_data_ptr<float>(), s);
    EXPECT_TRUE(test::is_close(out, plain, tolerance(type()))) << s.frames << " frames, " << s.head_dim;
  }
}

TEST_P(LayerKernels, frame_attention_refuses_what_does_not_fit) {
  const FrameAttentionJob job{nullptr, nullptr, element_type(type()), 1, 512, 1, 1, 160};
  EXPECT_NE(api_->frame_attention(0, job), 0);
}

TEST_P(LayerKernels, geglu_equals_the_plain_form) {
  for (const int64_t width : {1, 7, 320, 1280}) {
    const auto [x, wide] = input("x", {33, 2 * width});
    at::Tensor out = at::empty({33, width}, x.options()), plain = at::empty({33, width}, wide.options());
    ASSERT_EQ(api_->geglu(0, {x.const_data_ptr(), out.mutable_data_ptr(), element_type(type()), 33, width}), 0)
        << api_->last_error();
    nn::kernels::geglu_reference(wide.const_data_ptr<float>(), plain.mutable_data_ptr<float>(), 33, width);
    EXPECT_TRUE(test::is_close(out, plain, tolerance(type()))) << width;
  }
}

TEST_P(LayerKernels, a_sum_with_bias_equals_the_plain_form) {
  for (const int64_t channels : {1, 7, 64, 320}) {
    const auto [x, wide_x] = input("x", {33, channels});
    const auto [bias, wide_bias] = input("bias", {channels});
    const auto [start, wide_start] = input("sum", {33, channels});
    at::Tensor sum = start.clone();
    const AddBiasedJob job{
        sum.mutable_data_ptr(), x.const_data_ptr(), bias.const_data_ptr(), element_type(type()), 33, channels, 0.75F};
    ASSERT_EQ(api_->add_biased(0, job), 0) << api_->last_error();
    EXPECT_TRUE(test::is_close(sum, wide_start + 0.75 * (wide_x + wide_bias), tolerance(type()))) << channels;
  }
}

TEST_P(LayerKernels, layer_norm_equals_the_plain_form) {
  struct Row {
    int64_t rows, width;
    bool has_offset;
    int64_t position_count, rows_per_position;  // 0: no positions
    int64_t skipped = 0;                        // elements before the first row
  };
  for (const Row& r :
       {Row{96, 320, true, 16, 3}, Row{30, 640, true, 0, 0}, Row{7, 1280, false, 5, 1}, Row{9, 2048, true, 3, 2},
        Row{5, 1000, true, 2, 3}, Row{3, 1, true, 0, 0}, Row{11, 77, true, 4, 2}, Row{6, 1531, false, 0, 0},
        Row{5, 2041, true, 2, 1}, Row{10, 320, true, 3, 2, 1}}) {
    const auto [flat, wide_flat] = input("x", {r.skipped + r.rows * r.width});
    const at::Tensor x = flat.narrow(0, r.skipped, r.rows * r.width).view({r.rows, r.width});
    const auto [weight, wide_weight] = input("weight", {r.width});
    const auto [bias, wide_bias] = input("bias", {r.width});
    const auto [offset, wide_offset] = input("offset", {r.width});
    const auto [positions, wide_positions] = input("positions", {std::max<int64_t>(r.position_count, 1), r.width});
    at::Tensor out = at::empty(x.sizes(), x.options());
    const LayerNormJob job{x.const_data_ptr(),
                           weight.const_data_ptr(),
                           bias.const_data_ptr(),
                           r.has_offset ? offset.const_data_ptr() : nullptr,
                           r.position_count ? positions.const_data_ptr() : nullptr,
                           out.mutable_data_ptr(),
                           element_type(type()),
                           r.rows,
                           r.width,
                           r.position_count,
                           r.rows_per_position,
                           1e-5};
    ASSERT_EQ(api_->layer_norm(0, job), 0) << api_->last_error();

    at::Tensor wide = wide_flat.narrow(0, r.skipped, r.rows * r.width).view({r.rows, r.width}).clone();
    if (r.has_offset) wide.add_(wide_offset);
    at::Tensor plain = at::empty(wide.sizes(), wide.options());
    nn::kernels::layer_norm_reference(wide.const_data_ptr<float>(), wide_weight.const_data_ptr<float>(),
                                      wide_bias.const_data_ptr<float>(), plain.mutable_data_ptr<float>(), r.rows,
                                      r.width, 1e-5);
    for (int64_t row = 0; r.position_count != 0 && row < r.rows; ++row) {
      plain[row].add_(wide_positions[row / r.rows_per_position % r.position_count]);
    }
    EXPECT_TRUE(test::is_close(out, plain, tolerance(type()))) << r.rows << " x " << r.width;
  }
}

TEST_P(LayerKernels, layer_norm_keeps_its_bits_around_a_large_mean) {
  const auto [x, wide] = input("x", {20, 320});
  const at::Tensor far = wide.add(100).to(type()), wide_far = far.to(c10::kFloat);
  const auto [weight, wide_weight] = input("weight", {320});
  const at::Tensor there = far.to(device());
  at::Tensor out = at::empty({20, 320}, there.options()), plain = at::empty({20, 320});
  ASSERT_EQ(api_->layer_norm(0, {there.const_data_ptr(), weight.const_data_ptr(), weight.const_data_ptr(), nullptr,
                                 nullptr, out.mutable_data_ptr(), element_type(type()), 20, 320, 1, 1, 1e-5}),
            0)
      << api_->last_error();
  nn::kernels::layer_norm_reference(wide_far.const_data_ptr<float>(), wide_weight.const_data_ptr<float>(),
                                    wide_weight.const_data_ptr<float>(), plain.mutable_data_ptr<float>(), 20, 320,
                                    1e-5);
  // The mean, in fp32, has 4e-6 of the spread as its last bit.
  EXPECT_TRUE(test::is_close(out, plain, tolerance(type()) + 1e-5));
}

TEST_P(LayerKernels, layer_norm_refuses_what_does_not_fit_a_warp) {
  const LayerNormJob job{nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, element_type(type()),
                         4,       2049,    1,       1,       1e-5};
  EXPECT_NE(api_->layer_norm(0, job), 0);
}

TEST_P(LayerKernels, yuv_has_the_bytes_of_the_cpu) {
  constexpr int64_t kFrames = 3, kHeight = 34, kWidth = 46, kPixels = kHeight * kWidth;
  at::Tensor rgb = at::empty({kFrames, kHeight, kWidth, 3}, c10::kByte);
  auto* bytes = rgb.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < rgb.numel(); ++i) bytes[i] = static_cast<uint8_t>(i * i * 31 + i / 7);
  const at::Tensor on_device = rgb.to(device());
  at::Tensor planes = at::empty({kFrames * kPixels * 3 / 2}, on_device.options());
  auto* y = planes.mutable_data_ptr<uint8_t>();
  uint8_t *u = y + kFrames * kPixels, *v = u + kFrames * kPixels / 4;
  ASSERT_EQ(api_->rgb_to_yuv420(0, {on_device.const_data_ptr<uint8_t>(), y, u, v, kFrames, kHeight, kWidth}), 0)
      << api_->last_error();
  at::Tensor wanted = at::empty({kFrames * kPixels * 3 / 2}, c10::kByte);
  auto* to = wanted.mutable_data_ptr<uint8_t>();
  for (int64_t f = 0; f < kFrames; ++f) {
    uint8_t* chroma = to + kFrames * kPixels + f * kPixels / 4;
    media::rgb_to_yuv420_bt709(bytes + f * 3 * kPixels, kWidth, kHeight,
                               {to + f * kPixels, chroma, chroma + kFrames * kPixels / 4, kWidth, kWidth / 2});
  }
  EXPECT_TRUE(at::equal(planes.cpu(), wanted));
}

INSTANTIATE_TEST_SUITE_P(types, LayerKernels,
                         testing::Combine(testing::Values(c10::kCPU, c10::kCUDA),
                                          testing::Values(c10::kFloat, c10::kHalf, c10::kBFloat16)),
                         [](const auto& row) {
                           const bool emulated = std::get<0>(row.param) == c10::kCPU;
                           return std::string(emulated ? "emulated_" : "device_") +
                                  c10::toString(std::get<1>(row.param));
                         });

}  // namespace
}  // namespace t2v::cuda
