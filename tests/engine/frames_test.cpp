// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include <ATen/ops/from_blob.h>

#include "engine/frames.hpp"
#include "t2v/error.hpp"

namespace t2v::engine {
namespace {

/// One frame of one pixel, its three channels given.
at::Tensor pixel(std::vector<float> channels) {
  return at::from_blob(channels.data(), {1, 3, 1, 1}, at::TensorOptions().dtype(at::kFloat)).clone();
}

std::vector<int> bytes(const at::Tensor& rgb) {
  const auto* data = rgb.const_data_ptr<uint8_t>();
  return {data, data + rgb.numel()};
}

TEST(Frames, values_are_rounded_half_to_even_and_clamped) {
  EXPECT_EQ(bytes(frames_to_rgb8(pixel({-1.0F, 1.0F, 0.0F}), 0)), (std::vector<int>{0, 255, 128}));
  // 1/255 as a float frame: 2.5 / 255 * 2 - 1 rounds to 2, 3.5 / 255 * 2 - 1 to 4, as numpy's round does
  EXPECT_EQ(bytes(frames_to_rgb8(pixel({-3.0F, 7.5F, 0.999F}), 0)), (std::vector<int>{0, 255, 255}));
}

TEST(Frames, Row43_nan_and_inf_are_errors_that_name_the_frame) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    try {
      frames_to_rgb8(pixel({0.0F, bad, 0.0F}), 7);
      ADD_FAILURE() << "wanted an error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::numbers);
      EXPECT_THAT(error.what(), testing::HasSubstr("frames 7 to 7"));
    }
  }
}

TEST(Frames, bytes_come_back_from_frames_unchanged) {
  std::vector<uint8_t> rgb;
  for (int value = 0; value < 256; ++value) rgb.insert(rgb.end(), 3, static_cast<uint8_t>(value));
  const at::Tensor frame = rgb8_to_frame(rgb, 16, 16);
  const at::Tensor back = frames_to_rgb8(frame.unsqueeze(0), 0);
  EXPECT_TRUE(std::equal(rgb.begin(), rgb.end(), back.const_data_ptr<uint8_t>()));
}

}  // namespace
}  // namespace t2v::engine
