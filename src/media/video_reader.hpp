// SPDX-License-Identifier: Apache-2.0
// Frames out of files, one at a time, as 8-bit RGB: any video or picture libav reads, an animated
// WebP, or a numbered sequence f%04d.png.
//
//   auto video = media::open_video("clip.mp4");
//   std::vector<uint8_t> rgb;
//   while (video->next(rgb)) use(rgb, video->info().width, video->info().height);
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "t2v/request.hpp"

namespace t2v::media {

/// Bounds on what a file may make us allocate or wait for.
struct VideoLimits {
  int64_t max_frames = 0;                          ///< stop after so many frames; 0: all
  int64_t max_side = 16384;                        ///< pixels of width or height
  int64_t max_pixels = int64_t{64} * 1024 * 1024;  ///< of one frame
};

struct VideoInfo {
  int64_t width = 0, height = 0;          ///< as shown: after rotation
  Rational fps{1, 1};                     ///< 1/1 for a picture or a sequence, which have none
  int64_t frames = 0;                     ///< what the file claims; 0: not known before reading
  double seconds = 0;                     ///< what the file claims; 0: not known
  double start_seconds = 0;               ///< time of the first frame
  std::string container, codec, pix_fmt;  ///< libav's names
  std::string matrix, range, primaries,
      transfer;      ///< libav's names; "unknown" when the file has no tag
  int rotation = 0;  ///< degrees clockwise that were applied
};

/// Not thread-safe. Throws Error{bad_input} naming file and frame.
class VideoReader {
 public:
  virtual ~VideoReader() = default;
  virtual const VideoInfo& info() const = 0;
  /// The next frame [H W 3], into a buffer that is kept between calls; false after the last.
  virtual bool next(std::vector<uint8_t>& rgb) = 0;
};

std::unique_ptr<VideoReader> open_video(const std::filesystem::path& path, const VideoLimits& limits = {});

}  // namespace t2v::media
