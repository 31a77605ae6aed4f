// SPDX-License-Identifier: Apache-2.0
#include "media/compare.hpp"

#include <cmath>
#include <random>

#include "media/scale.hpp"
#include "media_support.hpp"

namespace t2v::media::test {
namespace {

TEST(Compare, equal_frames_have_infinite_psnr_and_ssim_one) {
  const Picture picture = gradient(32, 20, 0);
  const FrameDifference difference = compare_frames(picture.view(), picture.view());
  EXPECT_TRUE(std::isinf(difference.psnr));
  EXPECT_EQ(difference.ssim, 1);
  EXPECT_EQ(difference.max_difference, 0);
}

TEST(Compare, a_constant_offset_has_the_psnr_and_ssim_of_the_formula) {
  const Picture a{16, 16, std::vector<uint8_t>(768, 100)}, b{16, 16, std::vector<uint8_t>(768, 110)};
  const FrameDifference difference = compare_frames(a.view(), b.view());
  EXPECT_DOUBLE_EQ(difference.mse, 100);
  EXPECT_NEAR(difference.psnr, 28.1308, 1e-4);  // 20 log10(255 / 10)
  EXPECT_EQ(difference.max_difference, 10);
  const double c1 = 2.55 * 2.55;  // flat pictures: the luminance term alone
  EXPECT_NEAR(difference.ssim, (2 * 100.0 * 110 + c1) / (100.0 * 100 + 110.0 * 110 + c1), 1e-9);
}

/// SSIM straight from its definition, window by window.
double plain_ssim(const Picture& a, const Picture& b) {
  double weights[11][11], total = 0, sum = 0;
  for (int i = 0; i < 11; ++i) {
    for (int j = 0; j < 11; ++j) total += weights[i][j] = std::exp(-((i - 5) * (i - 5) + (j - 5) * (j - 5)) / 4.5);
  }
  int64_t count = 0;
  for (int64_t y = 0; y + 11 <= a.height; ++y) {
    for (int64_t x = 0; x + 11 <= a.width; ++x) {
      for (int64_t c = 0; c < 3; ++c, ++count) {
        double ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
        for (int i = 0; i < 11; ++i) {
          for (int j = 0; j < 11; ++j) {
            const auto at = static_cast<size_t>(3 * ((y + i) * a.width + x + j) + c);
            const double w = weights[i][j] / total, p = a.rgb[at], q = b.rgb[at];
            ma += w * p, mb += w * q, aa += w * p * p, bb += w * q * q, ab += w * p * q;
          }
        }
        const double c1 = 2.55 * 2.55, c2 = 7.65 * 7.65;
        sum += (2 * ma * mb + c1) * (2 * (ab - ma * mb) + c2) /
               ((ma * ma + mb * mb + c1) * (aa - ma * ma + bb - mb * mb + c2));
      }
    }
  }
  return sum / static_cast<double>(count);
}

TEST(Compare, ssim_equals_its_definition) {
  const Picture a = gradient(23, 17, 0);
  Picture b = a;
  std::mt19937 random(7);
  for (uint8_t& value : b.rgb)
    value = static_cast<uint8_t>(std::clamp<int>(value + static_cast<int>(random() % 41) - 20, 0, 255));
  EXPECT_NEAR(compare_frames(a.view(), b.view()).ssim, plain_ssim(a, b),
              1e-9);  // the order of double sums
}

TEST(Compare, tiny_pictures_use_a_smaller_window) {
  const Picture a = gradient(4, 3, 0), b = gradient(4, 3, 9);
  const double ssim = compare_frames(a.view(), b.view()).ssim;
  EXPECT_GT(ssim, 0);
  EXPECT_LT(ssim, 1);
}

TEST(Compare, counts_the_frames_of_both_and_finds_the_worst) {
  TempFolder folder;
  write_clip(folder / "a%02d.png", spec_of(24, 16), 5);
  auto sink = open_sink(folder / "b%02d.png", spec_of(24, 16));
  for (int i = 0; i < 7; ++i) sink->write(gradient(24, 16, i == 2 ? 12 : i).view());
  sink->finish();
  int64_t seen = 0;
  const VideoDifference difference =
      compare_videos(folder / "a%02d.png", folder / "b%02d.png",
                     [&](int64_t index, const FrameDifference&) { EXPECT_EQ(index, seen++); });
  EXPECT_EQ(seen, 5);
  EXPECT_EQ(difference.frames_a, 5);
  EXPECT_EQ(difference.frames_b, 7);
  EXPECT_EQ(difference.worst_frame, 2);
  EXPECT_EQ(difference.max_difference, 20);
}

TEST(Compare, different_sizes_are_refused) {
  TempFolder folder;
  write_clip(folder / "a.png", spec_of(24, 16), 1);
  write_clip(folder / "b.png", spec_of(16, 24), 1);
  const std::string message =
      error_of(ErrorCode::bad_input, [&] { compare_videos(folder / "a.png", folder / "b.png"); });
  EXPECT_NE(message.find("wanted 24x16"), std::string::npos) << message;
}

TEST(Scale, nearest_by_an_integer_repeats_pixels) {
  const Picture picture = gradient(5, 4, 0);
  FrameScaler scaler(5, 4, 15, 12, ScaleMethod::nearest);
  const FrameView big = scaler.scale(picture.view());
  ASSERT_EQ(big.rgb.size(), 15U * 12 * 3);
  for (size_t y = 0; y < 12; ++y) {
    for (size_t x = 0; x < 15; ++x) {
      for (size_t c = 0; c < 3; ++c) ASSERT_EQ(big.rgb[3 * (y * 15 + x) + c], picture.rgb[3 * (y / 3 * 5 + x / 3) + c]);
    }
  }
}

TEST(Scale, lanczos_keeps_flat_colours_exactly) {
  Picture flat{16, 16, {}};
  for (int i = 0; i < 256; ++i) flat.rgb.insert(flat.rgb.end(), {201, 17, 96});
  FrameScaler scaler(16, 16, 40, 28, ScaleMethod::lanczos);
  const FrameView big = scaler.scale(flat.view());
  for (size_t i = 0; i < big.rgb.size(); i += 3) {
    ASSERT_EQ(big.rgb[i], 201);
    ASSERT_EQ(big.rgb[i + 1], 17);
    ASSERT_EQ(big.rgb[i + 2], 96);
  }
}

TEST(Scale, scaled_sink_writes_the_larger_size) {
  TempFolder folder;
  auto sink = make_scaled(open_sink(folder / "a.mp4", spec_of(64, 48)), 32, 24, 64, 48, ScaleMethod::lanczos);
  for (int i = 0; i < 4; ++i) sink->write(gradient(32, 24, i).view());
  sink->finish();
  EXPECT_EQ(open_video(folder / "a.mp4")->info().width, 64);
}

}  // namespace
}  // namespace t2v::media::test
