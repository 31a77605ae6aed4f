// SPDX-License-Identifier: Apache-2.0
// Where frames go: a video file, numbered images, standard output, or a caller's own class.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "t2v/export.hpp"
#include "t2v/request.hpp"

namespace t2v {

/// One RGB frame in memory: 8 bits a channel, interleaved, rows without padding (H W 3). Valid during the call only.
struct FrameView {
  int64_t width = 0;
  int64_t height = 0;
  std::span<const uint8_t> rgb;
};

/// One frame as BT.709 Y'CbCr of limited range, 4:2:0, 8 bits a channel, rows without padding: y (H W), u and v
/// (H/2 W/2), each chroma sample the mean of its four pixels. Width and height are even. Valid during the call only.
struct Yuv420View {
  int64_t width = 0;
  int64_t height = 0;
  std::span<const uint8_t> y, u, v;
};

struct VideoSpec {
  int64_t width = 0, height = 0;  ///< pixels of every frame
  Rational fps{8, 1};
  std::string format;      ///< empty: by the file's extension; else mp4 mov mkv webm gif webp y4m png
  std::string codec;       ///< empty: libx264 (mp4, mov, mkv), libvpx-vp9 (webm), ...
  std::string pix_fmt;     ///< empty: yuv420p
  std::string preset;      ///< empty: medium
  int crf = -1;            ///< -1: 18
  bool overwrite = false;  ///< false: an existing file is refused when the sink is opened
  std::string metadata;    ///< one JSON object, written as container comment / PNG text; empty: none
  int64_t frames = 0;      ///< how many will come, so that one .png for many is refused at once; 0: not known
};

/// The side of a sink that takes frames in the form in which most videos are stored. A GPU makes them so by itself, and
/// hands over half the bytes.
class T2V_API Yuv420Sink {
 public:
  virtual ~Yuv420Sink() = default;
  /// Stands for FrameSink::write() of the frame that these planes were made of; same errors.
  virtual void write_yuv420(const Yuv420View&) = 0;
};

/// Contract: write() every frame in order, then finish(). Without finish() nothing appears under the final name.
/// Not thread-safe. Throws Error{output} when the output can't be written.
class T2V_API FrameSink {
 public:
  virtual ~FrameSink() = default;
  virtual void write(const FrameView&) = 0;
  virtual void finish() = 0;
  /// This sink's other side, when it stores planes as they come; its frames may then come in either form. Null: RGB
  /// only.
  virtual Yuv420Sink* yuv420() { return nullptr; }
};

/// Opens a sink for `path` ("-" = y4m on standard output unless spec.format says otherwise). The temporary file is
/// created now, so an unwritable place fails before any model is loaded.
T2V_API std::unique_ptr<FrameSink> open_sink(const std::filesystem::path& path, const VideoSpec& spec);

}  // namespace t2v
