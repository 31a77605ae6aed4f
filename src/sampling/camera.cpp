// SPDX-License-Identifier: Apache-2.0
#include "sampling/camera.hpp"

#include <array>
#include <cmath>
#include <numbers>

#include <ATen/ops/empty.h>
#include <ATen/ops/grid_sampler.h>

#include "core/check.hpp"
#include "tensor/operators.hpp"

namespace t2v::sampling {
namespace {

constexpr double kTravel = 0.25;                // pan and tilt: of the frame's size
constexpr double kZoom = 0.4;                   // e^0.4: half as large again
constexpr double kTurn = std::numbers::pi / 9;  // 20 degrees

// Numbers of at::native::GridSamplerInterpolation and GridSamplerPadding.
constexpr int64_t kBicubic = 2, kReflection = 2;

/// Where each pixel of a moved frame comes from, in grid_sampler's coordinates (-1 to 1, the edges
/// of the outer pixels). [1, h, w, 2]
at::Tensor source_grid(const CameraMove& move, int64_t height, int64_t width) {
  at::Tensor grid = at::empty({1, height, width, 2}, at::TensorOptions().dtype(c10::kFloat));
  auto* out = grid.mutable_data_ptr<float>();
  const double scale = std::exp(-move.zoom);
  const double cosine = std::cos(move.clockwise) * scale, sine = std::sin(move.clockwise) * scale;
  const auto w = static_cast<double>(width), h = static_cast<double>(height);
  for (int64_t row = 0; row < height; ++row) {
    for (int64_t column = 0; column < width; ++column) {
      // From the centre, in pixels; the content's move undone: shift, then turn and scale. The y
      // axis points down, so a clockwise turn on the screen is a positive angle.
      const double x = static_cast<double>(column) + 0.5 - w / 2 - move.right * w;
      const double y = static_cast<double>(row) + 0.5 - h / 2 - move.down * h;
      *out++ = static_cast<float>((cosine * x + sine * y) / (w / 2));
      *out++ = static_cast<float>((cosine * y - sine * x) / (h / 2));
    }
  }
  return grid;
}

}  // namespace

const std::vector<CameraWord>& camera_words() {
  static const std::vector<CameraWord> words{
      {"pan-left", {.right = kTravel}},    {"pan-right", {.right = -kTravel}}, {"tilt-up", {.down = kTravel}},
      {"tilt-down", {.down = -kTravel}},   {"zoom-in", {.zoom = kZoom}},       {"zoom-out", {.zoom = -kZoom}},
      {"roll-cw", {.clockwise = -kTurn}},  {"roll-ccw", {.clockwise = kTurn}}, {"roll-right", {.clockwise = -kTurn}},
      {"roll-left", {.clockwise = kTurn}},
  };
  return words;
}

double camera_progress(int64_t frame, int64_t frames, bool loop) {
  const auto f = static_cast<double>(frame);
  if (loop) return 0.5 - 0.5 * std::cos(2 * std::numbers::pi * f / static_cast<double>(frames));
  return frames > 1 ? f / static_cast<double>(frames - 1) : 0;
}

at::Tensor warp_clip(const at::Tensor& latents, const CameraMove& move, int64_t frame_dim, bool loop) {
  const int64_t frames = latents.size(frame_dim);
  const int64_t height = latents.size(-2), width = latents.size(-1);
  at::Tensor out = latents.clone();
  for (int64_t f = 0; f < frames; ++f) {
    const CameraMove part = move * camera_progress(f, frames, loop);
    if (!part.any()) continue;
    at::Tensor frame = out.select(frame_dim, f);  // all but the frame axis
    const at::Tensor image = frame.reshape({1, -1, height, width}).to(c10::kFloat);
    const at::Tensor grid = source_grid(part, height, width).to(image.device());
    frame.copy_(at::grid_sampler(image, grid, kBicubic, kReflection, /*align_corners=*/false).view(frame.sizes()));
  }
  return out;
}

}  // namespace t2v::sampling
