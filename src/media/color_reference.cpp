// SPDX-License-Identifier: Apache-2.0
#include "media/color.hpp"

#include <initializer_list>

#include "core/bt709.hpp"

namespace t2v::media {

namespace {

using namespace bt709;

uint8_t round_level(double value) { return static_cast<uint8_t>(value + 0.5); }

}  // namespace

void rgb_to_yuv420_bt709_reference(const uint8_t* rgb, int64_t width, int64_t height, const YuvPlanes& out) {
  const auto luma = [](double r, double g, double b) { return kRed * r + kGreen * g + kBlue * b; };
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const uint8_t* p = rgb + 3 * (y * width + x);
      out.y[y * out.y_stride + x] = round_level(16.0 + kLuma * luma(p[0], p[1], p[2]));
    }
  }
  for (int64_t y = 0; y < height / 2; ++y) {
    for (int64_t x = 0; x < width / 2; ++x) {
      double mean[3] = {};
      for (const int64_t offset : {int64_t{0}, int64_t{1}, width, width + 1}) {
        const uint8_t* p = rgb + 3 * (2 * y * width + 2 * x + offset);
        for (int c = 0; c < 3; ++c) mean[c] += p[c] / 4.0;
      }
      const double l = luma(mean[0], mean[1], mean[2]);
      out.u[y * out.uv_stride + x] = round_level(128.0 + kCb * (mean[2] - l));
      out.v[y * out.uv_stride + x] = round_level(128.0 + kCr * (mean[0] - l));
    }
  }
}

}  // namespace t2v::media
