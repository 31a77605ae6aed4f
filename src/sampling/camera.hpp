// SPDX-License-Identifier: Apache-2.0
// Camera moves as a warp of latents: frame after frame is shifted, scaled and turned a little more,
// as the global motion field of Text2Video-Zero (2303.13439, 3.3.1) does for shifts.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

namespace t2v::sampling {

/// How far the content has moved in the last frame. A camera's move is the opposite of it.
struct CameraMove {
  double right = 0, down = 0;  ///< of the frame's width and height
  double zoom = 0;             ///< natural logarithm of the scale; above 0: the content grows
  double clockwise = 0;        ///< radians
  bool operator==(const CameraMove&) const = default;
  bool any() const { return right != 0 || down != 0 || zoom != 0 || clockwise != 0; }
  CameraMove operator+(const CameraMove& other) const {
    return {right + other.right, down + other.down, zoom + other.zoom, clockwise + other.clockwise};
  }
  CameraMove operator*(double factor) const {
    return {right * factor, down * factor, zoom * factor, clockwise * factor};
  }
};

/// One word of --camera at strength 1.
struct CameraWord {
  std::string_view name;  ///< "pan-left"
  CameraMove move;
};
const std::vector<CameraWord>& camera_words();

/// How much of the whole move frame f of F has made, 0 to 1: evenly from the first frame to the
/// last, or, in a loop, there and back.
double camera_progress(int64_t frame, int64_t frames, bool loop);

/// Every frame of `latents` moved by its part of `move`; what comes in from outside is the frame's
/// mirror image. Frames lie along `frame_dim`; h and w are the last axes. Bicubic.
at::Tensor warp_clip(const at::Tensor& latents, const CameraMove& move, int64_t frame_dim, bool loop);

}  // namespace t2v::sampling
