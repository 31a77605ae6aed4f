// SPDX-License-Identifier: Apache-2.0
#include "commands/checked_sink.hpp"

#include <chrono>
#include <cstring>
#include <span>
#include <string>

#include "commands/signals.hpp"
#include "core/log.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Equal to itself one pixel on: every pixel is the first one.
bool repeats(std::span<const uint8_t> bytes, size_t pixel) {
  return std::memcmp(bytes.data(), bytes.data() + pixel, bytes.size() - pixel) == 0;
}

}  // namespace

void CheckedSink::look_at(const Colour& colour, bool is_one_colour, const Colour& black) {
  if (frames_ == 0) colour_ = colour;
  is_one_colour_ = is_one_colour_ && is_one_colour && colour == colour_;
  is_black_ = is_black_ && is_one_colour && colour == black;
}

void CheckedSink::write(const FrameView& frame) {
  throw_if_stopped();
  if ((is_one_colour_ || is_black_) && frame.rgb.size() >= colour_.size()) {
    look_at({frame.rgb[0], frame.rgb[1], frame.rgb[2]}, repeats(frame.rgb, colour_.size()), {0, 0, 0});
  }
  const auto start = Clock::now();
  inner_->write(frame);
  seconds_ += since(start);
  ++frames_;
}

void CheckedSink::write_yuv420(const Yuv420View& frame) {
  throw_if_stopped();
  if (is_one_colour_ || is_black_) {
    constexpr Colour kBlack{16, 128, 128};  // limited range
    look_at({frame.y[0], frame.u[0], frame.v[0]}, repeats(frame.y, 1) && repeats(frame.u, 1) && repeats(frame.v, 1),
            kBlack);
  }
  const auto start = Clock::now();
  inner_yuv420_->write_yuv420(frame);
  seconds_ += since(start);
  ++frames_;
}

void CheckedSink::finish() {
  if (frames_ > 0) {
    if (is_black_) {
      throw Error(ErrorCode::numbers, "numbers went wrong: decode: wanted a picture, got nothing but black",
                  "try --dtype fp32, another --seed, or check the checkpoint");
    }
    if (is_one_colour_) log::warn("every frame is of one colour: the checkpoint or the settings may not fit");
  }
  const auto start = Clock::now();
  inner_->finish();
  seconds_ += since(start);
}

}  // namespace t2v::commands
