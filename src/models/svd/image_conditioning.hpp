// SPDX-License-Identifier: Apache-2.0
// The conditioning image on its way to the two encoders. diffusers 0.42.1 pipeline_stable_video_diffusion.py
// _resize_with_antialiasing and image_processor.py VaeImageProcessor.preprocess.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "io/image.hpp"

namespace t2v::models::svd {

/// Gaussian blur against aliasing, then a bicubic resize with aligned corners: [1, 3, H, W] -> [1, 3, height, width].
/// Both sides of the image are at least 2.
at::Tensor resize_with_antialiasing(const at::Tensor& image, int64_t height, int64_t width);

/// What CLIP's normalisation gets: [1, 3, side, side] fp32 in about [0, 1] (the bicubic may overshoot).
at::Tensor clip_image(const io::Image& image, int64_t side);

/// What the VAE gets, before noise: resized as Pillow's Lanczos filter does it, [1, 3, height, width] fp32 in [-1, 1].
at::Tensor vae_image(const io::Image& image, int64_t height, int64_t width);

}  // namespace t2v::models::svd
