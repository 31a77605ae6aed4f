// SPDX-License-Identifier: Apache-2.0
// Watches the frames on their way to the output.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "t2v/frame_sink.hpp"

namespace t2v::commands {

/// Counts frames and the time spent in the sink (what encoding costs beyond what hides behind decoding), stops at a
/// signal, and refuses to finish a video that is black from the first to the last pixel: that is what numbers gone
/// wrong look like after a clamp.
class CheckedSink final : public FrameSink, private Yuv420Sink {
 public:
  explicit CheckedSink(std::unique_ptr<FrameSink> inner) : inner_(std::move(inner)), inner_yuv420_(inner_->yuv420()) {}
  void write(const FrameView& frame) override;
  /// Error{numbers} for a black video; a warning when every frame has one and the same colour.
  void finish() override;
  /// The inner sink's answer.
  Yuv420Sink* yuv420() override { return inner_yuv420_ ? this : nullptr; }
  double seconds() const { return seconds_; }
  int64_t frames() const { return frames_; }

 private:
  using Colour = std::array<uint8_t, 3>;  // in the form that the frame has
  void write_yuv420(const Yuv420View& frame) override;
  /// `colour` is that of the first pixel.
  void look_at(const Colour& colour, bool is_one_colour, const Colour& black);

  std::unique_ptr<FrameSink> inner_;
  Yuv420Sink* inner_yuv420_;
  double seconds_ = 0;
  int64_t frames_ = 0;
  bool is_one_colour_ = true, is_black_ = true;  // so far
  Colour colour_{};                              // of the first frame
};

}  // namespace t2v::commands
