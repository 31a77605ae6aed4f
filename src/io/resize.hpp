// SPDX-License-Identifier: Apache-2.0
// Image resizing with the bits of Pillow 12 (Image.resize of an RGB image): fixed-point weights, rounded to 8 bits
// between the passes. Pipelines that resize a conditioning image through Pillow depend on these bits.
#pragma once

#include <cstdint>

#include "io/image.hpp"

namespace t2v::io {

enum class ResizeFilter { box, bilinear, bicubic, lanczos };

/// Both sides of both sizes are at least 1. An image that has the size already comes back unchanged.
Image resize_image(const Image& image, int64_t width, int64_t height, ResizeFilter filter);

}  // namespace t2v::io
