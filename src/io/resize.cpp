// SPDX-License-Identifier: Apache-2.0
#include "io/resize.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/check.hpp"

namespace t2v::io {

namespace {

constexpr int kFractionBits = 22;  // 8 bits of colour and 2 of headroom beside them in 32

double sinc(double x) { return x == 0.0 ? 1.0 : std::sin(x * std::numbers::pi) / (x * std::numbers::pi); }

struct Filter {
  double support;
  double (*weight)(double);
};

double box_weight(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double bilinear_weight(double x) { return std::max(0.0, 1.0 - std::abs(x)); }

/// Keys' cubic with a = -1/2.
double bicubic_weight(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double lanczos_weight(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0; }

Filter filter_of(ResizeFilter filter) {
  switch (filter) {
    case ResizeFilter::box: return {0.5, box_weight};
    case ResizeFilter::bilinear: return {1.0, bilinear_weight};
    case ResizeFilter::bicubic: return {2.0, bicubic_weight};
    case ResizeFilter::lanczos: return {3.0, lanczos_weight};
  }
  T2V_CHECK(false, "unknown filter");
}

/// The source pixels of one target pixel and their weights.
struct Taps {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

int32_t fixed_point(double weight) {
  const double scaled = weight * (1 << kFractionBits);
  return static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

std::vector<Taps> taps_of(int64_t from, int64_t to, const Filter& filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0);  // a smaller image takes wider averages
  const double support = filter.support * stretch;
  std::vector<Taps> all(static_cast<size_t>(to));
  for (int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(centre - support + 0.5));
    const int64_t end = std::min(from, static_cast<int64_t>(centre + support + 0.5));
    std::vector<double> weights;
    double sum = 0;
    for (int64_t at = first; at < end; ++at) {
      weights.push_back(filter.weight((static_cast<double>(at) - centre + 0.5) * (1.0 / stretch)));
      sum += weights.back();
    }
    Taps& taps = all[static_cast<size_t>(i)];
    taps.first = first;
    for (const double weight : weights) taps.weights.push_back(fixed_point(sum != 0 ? weight / sum : weight));
  }
  return all;
}

/// Weighted sums over `taps` of bytes that are `stride` apart.
uint8_t weighted(const uint8_t* from, int64_t stride, const Taps& taps) {
  int64_t sum = int64_t{1} << (kFractionBits - 1);
  const uint8_t* at = from + taps.first * stride;
  for (const int32_t weight : taps.weights) {
    sum += *at * static_cast<int64_t>(weight);
    at += stride;
  }
  return static_cast<uint8_t>(std::clamp<int64_t>(sum >> kFractionBits, 0, 255));
}

Image resize_columns(const Image& image, int64_t width, const Filter& filter) {
  const auto taps = taps_of(image.width, width, filter);
  Image out{width, image.height, {}};
  out.rgb.reserve(static_cast<size_t>(width * image.height * 3));
  for (int64_t y = 0; y < image.height; ++y) {
    const uint8_t* row = image.rgb.data() + y * image.width * 3;
    for (const Taps& tap : taps) {
      for (int64_t channel = 0; channel < 3; ++channel) out.rgb.push_back(weighted(row + channel, 3, tap));
    }
  }
  return out;
}

Image resize_rows(const Image& image, int64_t height, const Filter& filter) {
  const int64_t row_bytes = image.width * 3;
  Image out{image.width, height, {}};
  out.rgb.reserve(static_cast<size_t>(row_bytes * height));
  for (const Taps& tap : taps_of(image.height, height, filter)) {
    for (int64_t at = 0; at < row_bytes; ++at) out.rgb.push_back(weighted(image.rgb.data() + at, row_bytes, tap));
  }
  return out;
}

}  // namespace

Image resize_image(const Image& image, int64_t width, int64_t height, ResizeFilter kind) {
  T2V_CHECK(image.width > 0 && image.height > 0 && width > 0 && height > 0, "an image without pixels");
  const Filter filter = filter_of(kind);
  Image out = image;
  if (width != out.width) out = resize_columns(out, width, filter);
  if (height != out.height) out = resize_rows(out, height, filter);
  return out;
}

}  // namespace t2v::io
