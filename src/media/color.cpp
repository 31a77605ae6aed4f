// SPDX-License-Identifier: Apache-2.0
#include "media/color.hpp"

#include <vector>

#include "core/bt709.hpp"

namespace t2v::media {

namespace {

using namespace bt709;

/// One row, split into channels so that the arithmetic below vectorizes.
struct RowScratch {
  std::vector<int16_t> r, g, b;
  explicit RowScratch(size_t width) : r(width), g(width), b(width) {}
};

inline void split_row(const uint8_t* rgb, int64_t width, int16_t* r, int16_t* g, int16_t* b) {
  for (int64_t x = 0; x < width; ++x) {
    r[x] = rgb[3 * x];
    g[x] = rgb[3 * x + 1];
    b[x] = rgb[3 * x + 2];
  }
}

__attribute__((always_inline)) inline void project(const int16_t* r, const int16_t* g, const int16_t* b, int64_t width,
                                                   const Factors& f, int bits, uint8_t* out) {
  const int32_t rounding = (f.offset << bits) + (1 << (bits - 1));
  for (int64_t x = 0; x < width; ++x) {
    out[x] = static_cast<uint8_t>((f.r * r[x] + f.g * g[x] + f.b * b[x] + rounding) >> bits);
  }
}

/// Sums of 2x2 pixels, kept in the first half of the scratch rows of `top`.
__attribute__((always_inline)) inline void sum_pairs(int16_t* top, const int16_t* bottom, int64_t half_width) {
  for (int64_t x = 0; x < half_width; ++x) {
    top[x] = static_cast<int16_t>(top[2 * x] + top[2 * x + 1] + bottom[2 * x] + bottom[2 * x + 1]);
  }
}

__attribute__((always_inline)) inline void convert_444(const uint8_t* rgb, int64_t width, int64_t height,
                                                       const YuvPlanes& out) {
  RowScratch row(static_cast<size_t>(width));
  for (int64_t y = 0; y < height; ++y) {
    split_row(rgb + 3 * width * y, width, row.r.data(), row.g.data(), row.b.data());
    const int16_t *r = row.r.data(), *g = row.g.data(), *b = row.b.data();
    project(r, g, b, width, kY, kBits, out.y + y * out.y_stride);
    project(r, g, b, width, kU, kBits, out.u + y * out.uv_stride);
    project(r, g, b, width, kV, kBits, out.v + y * out.uv_stride);
  }
}

__attribute__((always_inline)) inline void convert_420(const uint8_t* rgb, int64_t width, int64_t height,
                                                       const YuvPlanes& out) {
  RowScratch top(static_cast<size_t>(width)), bottom(static_cast<size_t>(width));
  const int64_t half = width / 2;
  for (int64_t y = 0; y < height; y += 2) {
    split_row(rgb + 3 * width * y, width, top.r.data(), top.g.data(), top.b.data());
    split_row(rgb + 3 * width * (y + 1), width, bottom.r.data(), bottom.g.data(), bottom.b.data());
    uint8_t* luma = out.y + y * out.y_stride;
    project(top.r.data(), top.g.data(), top.b.data(), width, kY, kBits, luma);
    project(bottom.r.data(), bottom.g.data(), bottom.b.data(), width, kY, kBits, luma + out.y_stride);
    sum_pairs(top.r.data(), bottom.r.data(), half);
    sum_pairs(top.g.data(), bottom.g.data(), half);
    sum_pairs(top.b.data(), bottom.b.data(), half);
    const int64_t chroma = y / 2 * out.uv_stride;
    project(top.r.data(), top.g.data(), top.b.data(), half, kU, kBits + 2, out.u + chroma);
    project(top.r.data(), top.g.data(), top.b.data(), half, kV, kBits + 2, out.v + chroma);
  }
}

// The same integers whatever the instruction set: wide vectors change the speed only.
#if defined(__x86_64__)
__attribute__((target("avx2"))) void convert_444_avx2(const uint8_t* rgb, int64_t width, int64_t height,
                                                      const YuvPlanes& out) {
  convert_444(rgb, width, height, out);
}
__attribute__((target("avx2"))) void convert_420_avx2(const uint8_t* rgb, int64_t width, int64_t height,
                                                      const YuvPlanes& out) {
  convert_420(rgb, width, height, out);
}
bool has_avx2() { return __builtin_cpu_supports("avx2"); }
#else
void convert_444_avx2(const uint8_t*, int64_t, int64_t, const YuvPlanes&) {}
void convert_420_avx2(const uint8_t*, int64_t, int64_t, const YuvPlanes&) {}
bool has_avx2() { return false; }
#endif

uint8_t round_level(double value) { return static_cast<uint8_t>(value + 0.5); }

}  // namespace

void rgb_to_yuv444_bt709(const uint8_t* rgb, int64_t width, int64_t height, const YuvPlanes& out) {
  if (has_avx2()) return convert_444_avx2(rgb, width, height, out);
  convert_444(rgb, width, height, out);
}

void rgb_to_yuv420_bt709(const uint8_t* rgb, int64_t width, int64_t height, const YuvPlanes& out) {
  if (has_avx2()) return convert_420_avx2(rgb, width, height, out);
  convert_420(rgb, width, height, out);
}

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
