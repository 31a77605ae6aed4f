// SPDX-License-Identifier: Apache-2.0
// Frames to another size before they are encoded: each channel on its own, so no colour is touched.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "t2v/frame_sink.hpp"

namespace t2v::media {

enum class ScaleMethod { nearest, lanczos };

/// Not thread-safe.
class FrameScaler {
 public:
  FrameScaler(int64_t in_width, int64_t in_height, int64_t out_width, int64_t out_height, ScaleMethod method);
  ~FrameScaler();
  FrameScaler(const FrameScaler&) = delete;
  FrameScaler& operator=(const FrameScaler&) = delete;
  /// Valid until the next call.
  FrameView scale(const FrameView& frame);

 private:
  struct Lanczos;  // keeps libav out of this header
  int64_t in_width_, in_height_, out_width_, out_height_;
  std::unique_ptr<Lanczos> lanczos_;  // null: nearest
  std::vector<int64_t> source_x_;     // of nearest
  std::vector<uint8_t> rgb_;
};

/// Passes scaled frames on to `inner`, which was opened with the output size.
std::unique_ptr<FrameSink> make_scaled(std::unique_ptr<FrameSink> inner, int64_t in_width, int64_t in_height,
                                       int64_t out_width, int64_t out_height, ScaleMethod method);

}  // namespace t2v::media
