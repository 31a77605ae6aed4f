// SPDX-License-Identifier: Apache-2.0
// Between float frames and 8-bit RGB.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

namespace t2v::engine {

/// Frames [F, 3, H, W] in [-1, 1] as RGB [F, H, W, 3] uint8 on the CPU: round((x / 2 + 0.5) clamped to [0, 1] times
/// 255), halves to even, as diffusers 0.42.1 VaeImageProcessor does. Throws Error{numbers} for NaN or Inf, because a
/// clamp would hide it as black; `first_frame` is the number of frame 0 for that message.
at::Tensor frames_to_rgb8(const at::Tensor& frames, int64_t first_frame);

/// Frames as BT.709 4:2:0 on the CPU, uint8.
struct Yuv420Frames {
  at::Tensor y;     // [F, H, W]
  at::Tensor u, v;  // [F, H/2, W/2]
};

/// Frames that become bytes on their device and travel from there on a stream of their own, beside what is queued
/// after them.
class FramesOnTheWay {
 public:
  /// `frames` and `first_frame` as of frames_to_rgb8(). `as_yuv420`: as the bytes that the encoder would make of the
  /// RGB, where the device has a kernel for it; not on the CPU, where the encoder's own thread is the better place.
  FramesOnTheWay(const at::Tensor& frames, int64_t first_frame, bool as_yuv420);

  bool have_arrived() const { return !arrival_; }
  /// Waits for them. Throws as frames_to_rgb8().
  struct Bytes {
    at::Tensor rgb;  // undefined where there are planes
    std::optional<Yuv420Frames> planes;
  };
  Bytes take();

 private:
  void make_bytes(const at::Tensor& frames, bool as_yuv420);
  void send();

  std::string stage_;
  c10::ScalarType dtype_;
  std::array<int64_t, 3> shape_;   // F, H, W
  at::Tensor bytes_, not_finite_;  // on the way; the second only where the bytes were not checked yet
  bool are_planes_ = false;
  std::optional<c10::Event> arrival_;
};

/// The same bytes on the frames' own device, unchecked: ATen's form of the kernel that a device may have.
at::Tensor rgb8_of(const at::Tensor& frames);

/// RGB [F, H, W, 3] uint8 on the CPU, H and W even, to planes as DeviceKernels::Yuv420 has them: their plain form.
at::Tensor yuv420_of(const at::Tensor& rgb);

/// One 8-bit RGB frame (H W 3) as [3, H, W] fp32 in [-1, 1]: x / 255 * 2 - 1.
at::Tensor rgb8_to_frame(std::span<const uint8_t> rgb, int64_t height, int64_t width);

}  // namespace t2v::engine
