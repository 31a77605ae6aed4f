// SPDX-License-Identifier: Apache-2.0
// Colours: the conversion against the formula of BT.709, and a chart through every container.
#include <algorithm>
#include <array>
#include <cmath>
#include <random>

#include "core/bt709.hpp"
#include "media/color.hpp"
#include "media_support.hpp"
#include "support/simd_environment.hpp"

namespace t2v::media::test {
namespace {

struct Planes {
  int64_t width, height;
  std::vector<uint8_t> y, u, v;
  Planes(int64_t w, int64_t h, int64_t cw, int64_t ch)
      : width(w),
        height(h),
        y(static_cast<size_t>(w * h)),
        u(static_cast<size_t>(cw * ch)),
        v(u.size()),
        chroma_width(cw) {}
  YuvPlanes view() { return {y.data(), u.data(), v.data(), width, chroma_width}; }
  int64_t chroma_width;
};

Picture noise(int64_t width, int64_t height, uint32_t seed) {
  Picture picture = gradient(width, height, 0);
  std::mt19937 random(seed);
  for (uint8_t& value : picture.rgb) value = static_cast<uint8_t>(random());
  return picture;
}

struct Exact {
  double y, u, v;
};

Exact formula(double r, double g, double b) {
  const double luma = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return {16 + 219 * luma / 255, 128 + 224 * (b - luma) / 1.8556 / 255, 128 + 224 * (r - luma) / 1.5748 / 255};
}

// Half a level is lost by rounding; the fixed-point factors may add 0.01.
constexpr double kRounding = 0.51;

TEST(Colour, conversion_to_444_is_the_formula_to_rounding) {
  const Picture picture = noise(130, 40, 1);
  Planes planes(130, 40, 130, 40);
  rgb_to_yuv444_bt709(picture.rgb.data(), 130, 40, planes.view());
  for (size_t i = 0; i < planes.y.size(); ++i) {
    const Exact want = formula(picture.rgb[3 * i], picture.rgb[3 * i + 1], picture.rgb[3 * i + 2]);
    ASSERT_NEAR(planes.y[i], want.y, kRounding);
    ASSERT_NEAR(planes.u[i], want.u, kRounding);
    ASSERT_NEAR(planes.v[i], want.v, kRounding);
  }
}

TEST(Colour, chroma_of_420_is_the_mean_of_four_pixels) {
  const Picture picture = noise(70, 34, 2);
  Planes planes(70, 34, 35, 17);
  rgb_to_yuv420_bt709(picture.rgb.data(), 70, 34, planes.view());
  for (size_t y = 0; y < 17; ++y) {
    for (size_t x = 0; x < 35; ++x) {
      double mean[3] = {};
      for (const size_t offset : {size_t{0}, size_t{1}, size_t{70}, size_t{71}}) {
        for (size_t c = 0; c < 3; ++c) mean[c] += picture.rgb[3 * (2 * y * 70 + 2 * x + offset) + c] / 4.0;
      }
      const Exact want = formula(mean[0], mean[1], mean[2]);
      ASSERT_NEAR(planes.u[y * 35 + x], want.u, kRounding);
      ASSERT_NEAR(planes.v[y * 35 + x], want.v, kRounding);
    }
  }
}

/// Factors of 20 fractional bits, the sum of `count` pixels rounded once: what every form gives, to the byte.
uint8_t fixed_point(const std::array<int32_t, 3>& sum, const bt709::Factors& f, int32_t count) {
  const int64_t scale = int64_t{count} << bt709::kBits;
  return static_cast<uint8_t>((f.r * sum[0] + f.g * sum[1] + f.b * sum[2] + f.offset * scale + scale / 2) / scale);
}

TEST(Colour, bytes_are_those_of_fixed_point_at_every_width) {
  constexpr uint8_t kUntouched = 123;
  for (int64_t width = 2; width <= 260; width += width < 140 ? 2 : 26) {
    const Picture picture = noise(width, 4, static_cast<uint32_t>(width));
    const auto sum_at = [&](int64_t x, int64_t y, int64_t side) {
      std::array<int32_t, 3> sum{};
      for (int64_t i = 0; i < side * side * 3; ++i) {
        const int64_t row = y * side + i / (side * 3), column = 3 * x * side + i % (side * 3);
        sum[static_cast<size_t>(i % 3)] += picture.rgb[static_cast<size_t>(row * 3 * width + column)];
      }
      return sum;
    };
    for (const int64_t side : {1, 2}) {  // pixels along a sample of chroma
      Planes planes(width + 1, 4, width / side + 1, 4 / side);
      for (auto* plane : {&planes.y, &planes.u, &planes.v}) std::ranges::fill(*plane, kUntouched);
      (side == 1 ? rgb_to_yuv444_bt709 : rgb_to_yuv420_bt709)(picture.rgb.data(), width, 4, planes.view());
      const auto expect_plane = [&](const std::vector<uint8_t>& plane, int64_t across, const bt709::Factors& factors) {
        const int64_t stride = width / across + 1;
        for (int64_t i = 0; i < static_cast<int64_t>(plane.size()); ++i) {
          const int64_t x = i % stride, y = i / stride;
          const uint8_t wanted =
              x + 1 == stride ? kUntouched
                              : fixed_point(sum_at(x, y, across), factors, static_cast<int32_t>(across * across));
          ASSERT_EQ(plane[static_cast<size_t>(i)], wanted) << width << ": " << x << ", " << y;
        }
      };
      expect_plane(planes.y, 1, bt709::kY);
      expect_plane(planes.u, side, bt709::kU);
      expect_plane(planes.v, side, bt709::kV);
    }
  }
}

TEST(Colour, fast_and_reference_differ_by_rounding_ties_only) {
  const Picture picture = noise(128, 64, 3);
  Planes fast(128, 64, 64, 32), reference(128, 64, 64, 32);
  rgb_to_yuv420_bt709(picture.rgb.data(), 128, 64, fast.view());
  rgb_to_yuv420_bt709_reference(picture.rgb.data(), 128, 64, reference.view());
  int different = 0;
  const auto count = [&](const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
    for (size_t i = 0; i < a.size(); ++i) {
      ASSERT_LE(std::abs(a[i] - b[i]), 1);
      different += a[i] != b[i];
    }
  };
  count(fast.y, reference.y);
  count(fast.u, reference.u);
  count(fast.v, reference.v);
  // The fixed-point factors move a result by at most 0.001 levels, so about one value in 500 may
  // sit on the other side.
  EXPECT_LE(different, static_cast<int>(fast.y.size()) / 500);
}

TEST(Colour, black_white_and_greys_have_no_chroma) {
  for (int level = 0; level < 256; ++level) {
    const std::vector<uint8_t> rgb(12, static_cast<uint8_t>(level));
    Planes planes(2, 2, 1, 1);
    rgb_to_yuv420_bt709(rgb.data(), 2, 2, planes.view());
    ASSERT_EQ(planes.u[0], 128);
    ASSERT_EQ(planes.v[0], 128);
    ASSERT_EQ(planes.y[0], std::lround(16 + 219 * level / 255.0));
  }
}

constexpr int kPatch = 32;
constexpr uint8_t kChart[][3] = {{255, 255, 255}, {0, 0, 0},      {255, 0, 0},   {0, 255, 0},
                                 {0, 0, 255},     {255, 255, 0},  {0, 255, 255}, {255, 0, 255},
                                 {128, 128, 128}, {200, 120, 40}, {30, 60, 90},  {240, 190, 170}};

Picture chart() {
  const int64_t width = 4 * kPatch, height = 3 * kPatch;
  Picture picture{width, height, std::vector<uint8_t>(static_cast<size_t>(3 * width * height))};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const auto& color = kChart[y / kPatch * 4 + x / kPatch];
      std::copy(color, color + 3, &picture.rgb[static_cast<size_t>(3 * (y * width + x))]);
    }
  }
  return picture;
}

TEST(Colour, Row66_chart_patches_survive_every_container_within_three_levels) {
  const Picture picture = chart();
  for (const char* name : {"c.mp4", "c.mov", "c.mkv", "c.webm", "c.gif", "c.webp", "c.y4m", "c.png"}) {
    TempFolder folder;
    const int frames = std::string_view(name) == "c.png" ? 1 : 3;
    auto sink = open_sink(folder / name, spec_of(picture.width, picture.height));
    for (int i = 0; i < frames; ++i) sink->write(picture.view());
    sink->finish();
    const auto video = open_video(folder / name);
    std::vector<uint8_t> rgb;
    ASSERT_TRUE(video->next(rgb));
    for (size_t patch = 0; patch < std::size(kChart); ++patch) {
      const size_t x = patch % 4 * kPatch + kPatch / 2, y = patch / 4 * kPatch + kPatch / 2;
      for (size_t c = 0; c < 3; ++c) {
        EXPECT_NEAR(rgb[3 * (y * static_cast<size_t>(picture.width) + x) + c], kChart[patch][c], 3)
            << name << " patch " << patch << " channel " << c;
      }
    }
  }
}

}  // namespace
}  // namespace t2v::media::test
