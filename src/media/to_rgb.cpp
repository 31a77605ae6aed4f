// SPDX-License-Identifier: Apache-2.0
#include "media/to_rgb.hpp"

#include <cstring>

extern "C" {
#include <libavutil/opt.h>
}

namespace t2v::media {

namespace {

constexpr int kHdHeight = 720, kHdWidth = 1280;

int sws_matrix(AVColorSpace space, const AVFrame* frame) {
  switch (space) {
    case AVCOL_SPC_BT709: return SWS_CS_ITU709;
    case AVCOL_SPC_FCC: return SWS_CS_FCC;
    case AVCOL_SPC_SMPTE240M: return SWS_CS_SMPTE240M;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL: return SWS_CS_BT2020;
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M: return SWS_CS_ITU601;
    default: break;
  }
  // What players assume of a file without a tag: BT.709 for HD sizes, BT.601 below.
  return frame->height >= kHdHeight || frame->width >= kHdWidth ? SWS_CS_ITU709 : SWS_CS_ITU601;
}

void set_chroma_position(SwsContext* sws, AVChromaLocation location) {
  // In 1/256 of a luma pixel. Without a tag: MPEG-2's, left and between the lines.
  const bool is_center =
      location == AVCHROMA_LOC_CENTER || location == AVCHROMA_LOC_TOP || location == AVCHROMA_LOC_BOTTOM;
  const bool is_top = location == AVCHROMA_LOC_TOP || location == AVCHROMA_LOC_TOPLEFT;
  const bool is_bottom = location == AVCHROMA_LOC_BOTTOM || location == AVCHROMA_LOC_BOTTOMLEFT;
  av_opt_set_int(sws, "src_h_chr_pos", is_center ? 128 : 0, 0);
  av_opt_set_int(sws, "src_v_chr_pos", is_top ? 0 : is_bottom ? 256 : 128, 0);
}

/// Turns [height width 3] clockwise.
void rotate(const std::vector<uint8_t>& from, int width, int height, int degrees, std::vector<uint8_t>& to) {
  const int out_width = degrees == 180 ? width : height;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      int out_x = width - 1 - x, out_y = height - 1 - y;  // 180
      if (degrees == 90) {
        out_x = height - 1 - y;
        out_y = x;
      } else if (degrees == 270) {
        out_x = y;
        out_y = width - 1 - x;
      }
      std::memcpy(&to[static_cast<size_t>(3) * (static_cast<size_t>(out_y) * out_width + out_x)],
                  &from[static_cast<size_t>(3) * (static_cast<size_t>(y) * width + x)], 3);
    }
  }
}

}  // namespace

void RgbConverter::prepare(const AVFrame* frame, const std::string& where) {
  if (sws_ && frame->width == width_ && frame->height == height_ && frame->format == format_) return;
  const auto format = static_cast<AVPixelFormat>(frame->format);
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
  if (!descriptor || !sws_isSupportedInput(format)) {
    throw Error(ErrorCode::unsupported, where + ": its pixel format can't be converted to RGB");
  }
  sws_.reset(sws_alloc_context());
  if (!sws_) throw Error(ErrorCode::no_resource, where + ": out of memory");
  av_opt_set_int(sws_.get(), "srcw", frame->width, 0);
  av_opt_set_int(sws_.get(), "srch", frame->height, 0);
  av_opt_set_int(sws_.get(), "src_format", format, 0);
  av_opt_set_int(sws_.get(), "dstw", frame->width, 0);
  av_opt_set_int(sws_.get(), "dsth", frame->height, 0);
  av_opt_set_int(sws_.get(), "dst_format", AV_PIX_FMT_RGB24, 0);
  av_opt_set_int(sws_.get(), "sws_flags",
                 SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_BITEXACT, 0);
  if (descriptor->log2_chroma_w > 0) set_chroma_position(sws_.get(), frame->chroma_location);
  av_check(sws_init_context(sws_.get(), nullptr, nullptr), "sws_init_context", where, ErrorCode::unsupported);
  if (!(descriptor->flags & AV_PIX_FMT_FLAG_RGB)) {
    const AVColorSpace space = frame->colorspace == AVCOL_SPC_UNSPECIFIED ? untagged_ : frame->colorspace;
    const char* name = av_get_pix_fmt_name(format);
    const bool is_grey = descriptor->nb_components < 3;
    const bool is_full = frame->color_range == AVCOL_RANGE_JPEG || std::strncmp(name, "yuvj", 4) == 0 ||
                         (is_grey && frame->color_range == AVCOL_RANGE_UNSPECIFIED);
    const int* matrix = sws_getCoefficients(sws_matrix(space, frame));
    sws_setColorspaceDetails(sws_.get(), matrix, is_full ? 1 : 0, matrix, 1, 0, 1 << 16, 1 << 16);
  }
  width_ = frame->width;
  height_ = frame->height;
  format_ = frame->format;
}

void RgbConverter::convert(const AVFrame* frame, std::vector<uint8_t>& rgb, const std::string& where) {
  prepare(frame, where);
  const size_t bytes = static_cast<size_t>(3) * width_ * height_;
  rgb.resize(bytes);
  std::vector<uint8_t>& target = rotation_ == 0 ? rgb : upright_;
  target.resize(bytes);
  uint8_t* planes[4] = {target.data()};
  const int strides[4] = {3 * width_};
  av_check(sws_scale(sws_.get(), frame->data, frame->linesize, 0, height_, planes, strides), "sws_scale", where,
           ErrorCode::internal);
  if (rotation_ != 0) rotate(upright_, width_, height_, rotation_, rgb);
}

}  // namespace t2v::media
