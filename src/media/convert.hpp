// SPDX-License-Identifier: Apache-2.0
// RGB frames to the pixel format an encoder wants. 8-bit 4:2:0 and 4:4:4 go through our own exact
// conversion (color.hpp), everything else through swscale told to use BT.709 limited range.
#pragma once

#include "media/av.hpp"
#include "t2v/frame_sink.hpp"

namespace t2v::media {

/// What a stream of this pixel format is tagged as.
struct ColorTags {
  AVColorSpace matrix = AVCOL_SPC_BT709;
  AVColorRange range = AVCOL_RANGE_MPEG;
  AVColorPrimaries primaries = AVCOL_PRI_BT709;
  AVColorTransferCharacteristic transfer = AVCOL_TRC_BT709;
  AVChromaLocation chroma = AVCHROMA_LOC_UNSPECIFIED;
  static ColorTags none() {
    return {AVCOL_SPC_UNSPECIFIED, AVCOL_RANGE_UNSPECIFIED, AVCOL_PRI_UNSPECIFIED, AVCOL_TRC_UNSPECIFIED,
            AVCHROMA_LOC_UNSPECIFIED};
  }
};
ColorTags color_tags(AVPixelFormat format, AVCodecID codec = AV_CODEC_ID_NONE);

class FrameConverter {
 public:
  FrameConverter(int64_t width, int64_t height, AVPixelFormat format, const ColorTags& tags);
  FrameConverter(int64_t width, int64_t height, AVPixelFormat format)
      : FrameConverter(width, height, format, color_tags(format)) {}
  /// Fills `out` (its own buffers, the format given above) and sets its tags.
  void convert(const FrameView& frame, AVFrame* out);
  /// Whether convert() would give the planes of a Yuv420View, byte for byte.
  bool makes_yuv420() const { return format_ == AV_PIX_FMT_YUV420P && !sws_; }
  /// The same for a frame that was converted elsewhere; makes_yuv420() must be true.
  void copy(const Yuv420View& frame, AVFrame* out) const;

 private:
  void set_tags(AVFrame* out) const;

  int width_, height_;
  AVPixelFormat format_;
  ColorTags tags_;
  UniqueSws sws_;  // null: own conversion
};

}  // namespace t2v::media
