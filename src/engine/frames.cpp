// SPDX-License-Identifier: Apache-2.0
#include "engine/frames.hpp"

#include <cstring>
#include <string>

#include <ATen/ops/empty.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "engine/finite.hpp"
#include "media/color.hpp"
#include "tensor/device_kernels.hpp"
#include "tensor/operators.hpp"

namespace t2v::engine {

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

FramesOnTheWay::FramesOnTheWay(const at::Tensor& frames, int64_t first_frame, bool as_yuv420)
    : stage_("decode: frames " + std::to_string(first_frame) + " to " +
             std::to_string(first_frame + frames.size(0) - 1)),
      dtype_(frames.scalar_type()),
      shape_{frames.size(0), frames.size(2), frames.size(3)} {
  make_bytes(frames, as_yuv420);
  if (bytes_.is_cuda()) send();
}

void FramesOnTheWay::make_bytes(const at::Tensor& frames, bool as_yuv420) {
  const auto* device = device_kernels_for(frames);
  if (const auto planes = device && as_yuv420 ? device->frames_to_yuv420(frames) : std::nullopt) {
    bytes_ = planes->planes, not_finite_ = planes->not_finite, are_planes_ = true;
  } else if (const auto rgb = device ? device->frames_to_rgb8(frames) : std::nullopt) {
    bytes_ = rgb->rgb, not_finite_ = rgb->not_finite;
  } else {
    require_finite(frames, stage_);
    bytes_ = rgb8_of(frames);
  }
}

void FramesOnTheWay::send() {
  const c10::Device device = bytes_.device();
  const c10::impl::VirtualGuardImpl streams(device.type());
  arrival_.emplace(device.type());
  arrival_->record(streams.getStream(device));  // first: they are made
  const c10::Stream stream = streams.getStreamFromGlobalPool(device);
  arrival_->block(stream);
  const auto sent = [&](const at::Tensor& x) {
    const c10::StreamGuard guard(stream);
    x.record_stream(stream);
    const auto pinned = at::TensorOptions().dtype(x.scalar_type()).pinned_memory(true);
    return at::empty(x.sizes(), pinned).copy_(x, /*non_blocking=*/true);
  };
  bytes_ = sent(bytes_);
  if (not_finite_.defined()) not_finite_ = sent(not_finite_);
  arrival_->record(stream);
}

FramesOnTheWay::Bytes FramesOnTheWay::take() {
  if (arrival_) arrival_->synchronize();
  if (not_finite_.defined() && not_finite_.item<int>() != 0) throw_not_finite(stage_, dtype_, /*was_retried=*/false);
  if (!are_planes_) return {.rgb = bytes_, .planes = {}};
  const auto [count, height, width] = shape_;
  const int64_t pixels = count * height * width;
  return {
      .rgb = {},
      .planes = Yuv420Frames{.y = bytes_.narrow(0, 0, pixels).view({count, height, width}),
                             .u = bytes_.narrow(0, pixels, pixels / 4).view({count, height / 2, width / 2}),
                             .v = bytes_.narrow(0, pixels * 5 / 4, pixels / 4).view({count, height / 2, width / 2})}};
}

at::Tensor frames_to_rgb8(const at::Tensor& frames, int64_t first_frame) {
  return FramesOnTheWay(frames, first_frame, /*as_yuv420=*/false).take().rgb;
}

at::Tensor rgb8_to_frame(std::span<const uint8_t> rgb, int64_t height, int64_t width) {
  at::Tensor bytes = at::empty({height, width, 3}, at::TensorOptions().dtype(c10::kByte));
  std::memcpy(bytes.mutable_data_ptr<uint8_t>(), rgb.data(), rgb.size());
  return (bytes.permute({2, 0, 1}).to(c10::kFloat) / 255.0) * 2.0 - 1.0;
}

}  // namespace t2v::engine
