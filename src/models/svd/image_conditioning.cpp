// SPDX-License-Identifier: Apache-2.0
#include "models/svd/image_conditioning.hpp"

#include <algorithm>
#include <array>

#include <ATen/ops/arange.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/reflection_pad2d.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/upsample_bicubic2d.h>

#include "engine/frames.hpp"
#include "io/resize.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::svd {

namespace {

using at::Tensor;

struct Blur {
  double sigma;
  int64_t taps;  // odd
};

Blur blur_for(int64_t from, int64_t to) {
  const double factor = static_cast<double>(from) / static_cast<double>(to);
  const double sigma = std::max((factor - 1.0) / 2.0, 0.001);
  const auto taps = static_cast<int64_t>(std::max(2.0 * 2.0 * sigma, 3.0));
  return {sigma, taps % 2 == 0 ? taps + 1 : taps};
}

/// In fp32 with tensor operations, as PyTorch rounds it. [taps]
Tensor gaussian(const Blur& blur) {
  const auto fp32 = at::TensorOptions().dtype(at::kFloat);
  const Tensor sigma = at::tensor(static_cast<float>(blur.sigma), fp32);
  const Tensor x = at::arange(blur.taps, fp32) - static_cast<double>(blur.taps / 2);
  const Tensor bell = at::exp(x.pow(2.0).neg() / (sigma.pow(2.0) * 2));
  return bell / bell.sum();
}

/// One kernel over every channel; `axis` 2 blurs columns, 3 rows.
Tensor blur_axis(const Tensor& image, const Blur& blur, int64_t axis) {
  const int64_t channels = image.size(1), pad = blur.taps / 2;
  const bool is_row = axis == 3;
  const Tensor padded =
      is_row ? at::reflection_pad2d(image, {pad, pad, 0, 0}) : at::reflection_pad2d(image, {0, 0, pad, pad});
  const Tensor kernel = gaussian(blur).view(is_row ? std::array<int64_t, 4>{1, 1, 1, blur.taps}
                                                   : std::array<int64_t, 4>{1, 1, blur.taps, 1});
  const std::array<int64_t, 2> ones{1, 1}, none{0, 0};
  return at::conv2d(padded, kernel.expand({channels, 1, -1, -1}), {}, /*stride=*/ones, at::IntArrayRef(none),
                    /*dilation=*/ones, /*groups=*/channels);
}

}  // namespace

Tensor resize_with_antialiasing(const Tensor& image, int64_t height, int64_t width) {
  const Tensor rows = blur_axis(image, blur_for(image.size(3), width), 3);
  const Tensor blurred = blur_axis(rows, blur_for(image.size(2), height), 2);
  return at::upsample_bicubic2d(blurred, {height, width}, /*align_corners=*/true);
}

Tensor clip_image(const io::Image& image, int64_t side) {
  const Tensor pixels = engine::rgb8_to_frame(image.rgb, image.height, image.width).unsqueeze(0);
  return (resize_with_antialiasing(pixels, side, side) + 1.0) / 2.0;
}

Tensor vae_image(const io::Image& image, int64_t height, int64_t width) {
  const io::Image sized = io::resize_image(image, width, height, io::ResizeFilter::lanczos);
  return engine::rgb8_to_frame(sized.rgb, height, width).unsqueeze(0);
}

}  // namespace t2v::models::svd
