// SPDX-License-Identifier: Apache-2.0
// Rec. ITU-R BT.709-6 (items 3.2-3.4), limited range, as fixed-point factors that the CPU and CUDA forms share.
#pragma once

#include <cstdint>

namespace t2v::bt709 {

// Note: [Fixed-point colour]
// Y = 16 + 219 (0.2126 R + 0.7152 G + 0.0722 B) / 255, Cb = 128 + 224 (B - Y') / 1.8556 / 255, Cr =
// 128 + 224 (R - Y') / 1.5748 / 255. The factors are held as integers of 20 fractional bits; for
// 4:2:0 the sum of four pixels (0..1020) goes through the same factors with 22. The largest
// intermediate is 1020 * 0.44 * 2^20 < 2^31 / 4. Rounding the factors moves a result by less than
// 0.001 levels. The chroma factors sum to zero, so grey is exactly 128, and white is exactly 235.
constexpr int kBits = 20;

constexpr int32_t fixed(double factor) {
  const double scaled = factor * (1 << kBits);
  return static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

constexpr double kRed = 0.2126, kBlue = 0.0722, kGreen = 1.0 - kRed - kBlue;
constexpr double kLuma = 219.0 / 255.0;
constexpr double kCb = 224.0 / 255.0 / (2.0 * (1.0 - kBlue));
constexpr double kCr = 224.0 / 255.0 / (2.0 * (1.0 - kRed));

/// One output: offset + r R + g G + b B.
struct Factors {
  int32_t r, g, b, offset;
};

constexpr Factors kY{fixed(kLuma * kRed), fixed(kLuma) - fixed(kLuma* kRed) - fixed(kLuma* kBlue), fixed(kLuma* kBlue),
                     16};
constexpr Factors kU{fixed(-kCb * kRed), fixed(-kCb* kGreen), -fixed(-kCb* kRed) - fixed(-kCb* kGreen), 128};
constexpr Factors kV{-fixed(-kCr * kGreen) - fixed(-kCr * kBlue), fixed(-kCr* kGreen), fixed(-kCr* kBlue), 128};

}  // namespace t2v::bt709
