// SPDX-License-Identifier: Apache-2.0
#include "commands/checked_sink.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

#include "commands/signals.hpp"
#include "core/log.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

void CheckedSink::write(const FrameView& frame) {
  throw_if_stopped();
  if (is_one_colour_ && frame.rgb.size() >= colour_.size()) {
    if (frames_ == 0) std::copy_n(frame.rgb.begin(), colour_.size(), colour_.begin());
    // Equal to itself one pixel on: every pixel is the first one.
    is_one_colour_ =
        std::equal(colour_.begin(), colour_.end(), frame.rgb.begin()) &&
        std::memcmp(frame.rgb.data(), frame.rgb.data() + colour_.size(), frame.rgb.size() - colour_.size()) == 0;
  }
  const auto start = Clock::now();
  inner_->write(frame);
  seconds_ += since(start);
  ++frames_;
}

void CheckedSink::finish() {
  if (is_one_colour_ && frames_ > 0) {
    if (colour_ == std::array<uint8_t, 3>{}) {
      throw Error(ErrorCode::numbers, "numbers went wrong: decode: wanted a picture, got nothing but black",
                  "try --dtype fp32, another --seed, or check the checkpoint");
    }
    log::warn("every frame is of one colour: the checkpoint or the settings may not fit");
  }
  const auto start = Clock::now();
  inner_->finish();
  seconds_ += since(start);
}

}  // namespace t2v::commands
