// SPDX-License-Identifier: Apache-2.0
#include "engine/frames.hpp"

#include <cstring>
#include <string>

#include <ATen/ops/empty.h>

#include "engine/finite.hpp"
#include "media/color.hpp"
#include "tensor/device_kernels.hpp"
#include "tensor/operators.hpp"

namespace t2v::engine {

namespace {

/// A device writes to pinned memory without a detour.
at::Tensor on_host(const at::Tensor& x) {
  if (!x.is_cuda()) return x;
  return at::empty(x.sizes(), at::TensorOptions().dtype(x.scalar_type()).pinned_memory(true)).copy_(x);
}

std::string stage_of(const at::Tensor& frames, int64_t first) {
  return "decode: frames " + std::to_string(first) + " to " + std::to_string(first + frames.size(0) - 1);
}

}  // namespace

at::Tensor rgb8_of(const at::Tensor& frames) {
  const at::Tensor unit = (frames.to(c10::kFloat) * 0.5 + 0.5).clamp(0, 1);  // [F, 3, H, W]
  return (unit * 255).round().to(c10::kByte).permute({0, 2, 3, 1}).contiguous();
}

at::Tensor yuv420_of(const at::Tensor& rgb) {
  const int64_t frames = rgb.size(0), height = rgb.size(1), width = rgb.size(2), pixels = height * width;
  at::Tensor planes = at::empty({frames * pixels * 3 / 2}, rgb.options());
  const auto* from = rgb.const_data_ptr<uint8_t>();
  auto* y = planes.mutable_data_ptr<uint8_t>();
  uint8_t *u = y + frames * pixels, *v = u + frames * pixels / 4;
  for (int64_t f = 0; f < frames; ++f) {
    media::rgb_to_yuv420_bt709(from + 3 * f * pixels, width, height,
                               {y + f * pixels, u + f * pixels / 4, v + f * pixels / 4, width, width / 2});
  }
  return planes;
}

at::Tensor frames_to_rgb8(const at::Tensor& frames, int64_t first_frame) {
  const std::string stage = stage_of(frames, first_frame);
  if (const auto* device = device_kernels_for(frames)) {
    if (const auto made = device->frames_to_rgb8(frames)) {
      if (made->not_finite.item<int>() != 0) throw_not_finite(stage, frames.scalar_type(), /*was_retried=*/false);
      return on_host(made->rgb);
    }
  }
  require_finite(frames, stage);
  return on_host(rgb8_of(frames));
}

std::optional<Yuv420Frames> frames_to_yuv420(const at::Tensor& frames, int64_t first_frame) {
  const auto* device = device_kernels_for(frames);
  const auto made = device ? device->frames_to_yuv420(frames) : std::nullopt;
  if (!made) return std::nullopt;
  if (made->not_finite.item<int>() != 0) {
    throw_not_finite(stage_of(frames, first_frame), frames.scalar_type(), /*was_retried=*/false);
  }
  const int64_t count = frames.size(0), height = frames.size(2), width = frames.size(3),
                pixels = count * height * width;
  const at::Tensor planes = on_host(made->planes);
  return Yuv420Frames{.y = planes.narrow(0, 0, pixels).view({count, height, width}),
                      .u = planes.narrow(0, pixels, pixels / 4).view({count, height / 2, width / 2}),
                      .v = planes.narrow(0, pixels * 5 / 4, pixels / 4).view({count, height / 2, width / 2})};
}

at::Tensor rgb8_to_frame(std::span<const uint8_t> rgb, int64_t height, int64_t width) {
  at::Tensor bytes = at::empty({height, width, 3}, at::TensorOptions().dtype(c10::kByte));
  std::memcpy(bytes.mutable_data_ptr<uint8_t>(), rgb.data(), rgb.size());
  return (bytes.permute({2, 0, 1}).to(c10::kFloat) / 255.0) * 2.0 - 1.0;
}

}  // namespace t2v::engine
