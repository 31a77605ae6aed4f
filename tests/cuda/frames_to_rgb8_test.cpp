// SPDX-License-Identifier: Apache-2.0
// The three forms of frames -> RGB: the engine's on tensors, the kernel's plain reference, the kernel.
#include "cuda/kernels/frames_to_rgb8.hpp"

#include <filesystem>
#include <limits>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "emulated/plugin.hpp"
#include "engine/cuda_plugin.hpp"
#include "engine/frames.hpp"

namespace t2v::cuda {
namespace {

/// Values in and around [-1, 1] whose images hit every byte and many halves between two, as [F=2, 3, H, W].
at::Tensor samples(int64_t height, int64_t width) {
  const int64_t count = 2 * 3 * height * width;
  const at::Tensor halves = at::linspace(-1, 256.0 / 255, 512, c10::kFloat);  // images at 0, 0.5, 1, ... 255.5
  const at::Tensor wide = at::linspace(-1.3, 1.3, count - 512, c10::kFloat);
  return at::cat({halves, wide}).view({2, 3, height, width});
}

RgbJob job_of(const at::Tensor& frames, const at::Tensor& rgb, const at::Tensor& flag) {
  const PixelType type = frames.scalar_type() == c10::kHalf       ? PixelType::fp16
                         : frames.scalar_type() == c10::kBFloat16 ? PixelType::bf16
                                                                  : PixelType::fp32;
  return {frames.const_data_ptr(),
          type,
          frames.size(0),
          frames.size(2),
          frames.size(3),
          frames.stride(0),
          frames.stride(1),
          frames.stride(2),
          frames.stride(3),
          rgb.mutable_data_ptr<uint8_t>(),
          flag.mutable_data_ptr<int>()};
}

struct Result {
  at::Tensor rgb;
  bool not_finite;
};

Result reference(const at::Tensor& frames) {
  const at::Tensor rgb = at::empty({frames.size(0), frames.size(2), frames.size(3), 3}, c10::kByte);
  const at::Tensor flag = at::zeros({1}, c10::kInt);
  frames_to_rgb8_reference(job_of(frames, rgb, flag));
  return {rgb, flag.const_data_ptr<int>()[0] != 0};
}

class FramesToRgb8 : public testing::TestWithParam<c10::ScalarType> {};

TEST_P(FramesToRgb8, ReferenceEqualsTheEngine) {
  const at::Tensor frames = samples(32, 40).to(GetParam());
  const Result result = reference(frames);
  EXPECT_FALSE(result.not_finite);
  EXPECT_TRUE(at::equal(result.rgb, engine::frames_to_rgb8(frames, 0)));
}

TEST_P(FramesToRgb8, StridesDoNotMatter) {
  const at::Tensor frames = samples(32, 40).to(GetParam());
  const at::Tensor last = frames.contiguous(c10::MemoryFormat::ChannelsLast);
  EXPECT_TRUE(at::equal(reference(last).rgb, reference(frames).rgb));
  const at::Tensor turned = frames.transpose(2, 3);
  EXPECT_TRUE(at::equal(reference(turned).rgb, reference(turned.contiguous()).rgb));
}

TEST_P(FramesToRgb8, NanAndInfinityAreFlagged) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    at::Tensor frames = samples(32, 40).to(GetParam());
    frames[1][2][31][39].fill_(bad);
    EXPECT_TRUE(reference(frames).not_finite) << bad;
  }
}

void expect_kernel_equals_reference(const PluginApi& api, c10::Device device, c10::ScalarType type) {
  for (const bool channels_last : {false, true}) {
    for (const bool bad : {false, true}) {
      at::Tensor frames = samples(63, 40).to(type);  // no multiple of a block
      if (bad) frames[0][0][0][0].fill_(std::numeric_limits<float>::quiet_NaN());
      if (channels_last) frames = frames.contiguous(c10::MemoryFormat::ChannelsLast);
      const at::Tensor on_device = frames.to(device);
      const at::Tensor rgb = at::empty({2, 63, 40, 3}, on_device.options().dtype(c10::kByte));
      const at::Tensor flag = at::zeros({1}, on_device.options().dtype(c10::kInt));
      ASSERT_EQ(api.rgb_to_uint8(0, job_of(on_device, rgb, flag)), 0) << api.last_error();
      const Result wanted = reference(frames);
      EXPECT_TRUE(at::equal(rgb.cpu(), wanted.rgb));
      EXPECT_EQ(flag.cpu().const_data_ptr<int>()[0] != 0, wanted.not_finite);
    }
  }
}

TEST_P(FramesToRgb8, EmulatedKernelEqualsTheReference) {
  expect_kernel_equals_reference(emulated_plugin(), c10::kCPU, GetParam());
}

TEST_P(FramesToRgb8, KernelEqualsTheReference) {
  if (!engine::cuda_likely()) GTEST_SKIP() << "no NVIDIA driver on this machine";
  const PluginApi& api = engine::open_cuda_plugin(std::filesystem::path(T2V_BINARY_DIR) / "libt2v_cuda.so");
  int devices = 0;
  if (api.device_count(&devices) != 0 || devices == 0) GTEST_SKIP() << "no CUDA device on this machine";
  expect_kernel_equals_reference(api, c10::Device(c10::kCUDA, 0), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Types, FramesToRgb8, testing::Values(c10::kFloat, c10::kHalf, c10::kBFloat16),
                         [](const auto& row) { return std::string(c10::toString(row.param)); });

}  // namespace
}  // namespace t2v::cuda
