// SPDX-License-Identifier: Apache-2.0
#include "media/convert.hpp"

#include <array>
#include <cstring>

#include "core/check.hpp"
#include "media/color.hpp"

extern "C" {
#include <libavutil/imgutils.h>
}

namespace t2v::media {

namespace {

bool is_rgb(AVPixelFormat format) {
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
  return descriptor && (descriptor->flags & AV_PIX_FMT_FLAG_RGB);
}

bool has_own_conversion(AVPixelFormat format) { return format == AV_PIX_FMT_YUV420P || format == AV_PIX_FMT_YUV444P; }

bool is_full_range_name(AVPixelFormat format) {
  const char* name = av_get_pix_fmt_name(format);
  return name && std::strncmp(name, "yuvj", 4) == 0;
}

}  // namespace

ColorTags color_tags(AVPixelFormat format, AVCodecID codec) {
  ColorTags tags;
  if (is_rgb(format)) {
    tags.matrix = AVCOL_SPC_RGB;
    tags.range = AVCOL_RANGE_JPEG;
    return tags;
  }
  // VP8 is BT.601 by definition (RFC 6386, 9.2); its decoders look at no tag.
  if (codec == AV_CODEC_ID_VP8) tags.matrix = AVCOL_SPC_SMPTE170M;
  if (is_full_range_name(format)) tags.range = AVCOL_RANGE_JPEG;
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
  if (descriptor && descriptor->log2_chroma_w == 1 && descriptor->log2_chroma_h == 1) tags.chroma = AVCHROMA_LOC_CENTER;
  return tags;
}

FrameConverter::FrameConverter(int64_t width, int64_t height, AVPixelFormat format, const ColorTags& tags)
    : width_(static_cast<int>(width)), height_(static_cast<int>(height)), format_(format), tags_(tags) {
  if (has_own_conversion(format) && tags.matrix != AVCOL_SPC_SMPTE170M) return;
  // SWS_AREA averages chroma; with ACCURATE_RND and FULL_CHR_H_INP swscale stays within 0.51 levels
  // of the formula.
  sws_.reset(sws_getContext(width_, height_, AV_PIX_FMT_RGB24, width_, height_, format,
                            SWS_AREA | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP | SWS_FULL_CHR_H_INT | SWS_BITEXACT,
                            nullptr, nullptr, nullptr));
  if (!sws_) {
    throw Error(ErrorCode::unsupported,
                std::string("--pix-fmt: RGB can't be converted to ") + av_get_pix_fmt_name(format));
  }
  if (!is_rgb(format)) {
    const int* matrix = sws_getCoefficients(tags.matrix == AVCOL_SPC_SMPTE170M ? SWS_CS_ITU601 : SWS_CS_ITU709);
    const int full = color_tags(format).range == AVCOL_RANGE_JPEG ? 1 : 0;
    sws_setColorspaceDetails(sws_.get(), matrix, 1, matrix, full, 0, 1 << 16, 1 << 16);
  }
}

void FrameConverter::set_tags(AVFrame* out) const {
  out->colorspace = tags_.matrix;
  out->color_range = tags_.range;
  out->color_primaries = tags_.primaries;
  out->color_trc = tags_.transfer;
  out->chroma_location = tags_.chroma;
}

void FrameConverter::copy(const Yuv420View& frame, AVFrame* out) const {
  T2V_CHECK(makes_yuv420(), "planes come to sinks that take them");
  T2V_CHECK(frame.width == width_ && frame.height == height_, "a frame has the size its sink was opened with");
  const std::array planes{frame.y, frame.u, frame.v};
  for (size_t i = 0; i < planes.size(); ++i) {
    const int width = i == 0 ? width_ : width_ / 2, height = i == 0 ? height_ : height_ / 2;
    T2V_CHECK(planes[i].size() == static_cast<size_t>(width) * height, "a plane has height * width bytes");
    av_image_copy_plane(out->data[i], out->linesize[i], planes[i].data(), width, width, height);
  }
  set_tags(out);
}

void FrameConverter::convert(const FrameView& frame, AVFrame* out) {
  T2V_CHECK(frame.width == width_ && frame.height == height_, "a frame has the size its sink was opened with");
  T2V_CHECK(frame.rgb.size() == static_cast<size_t>(3) * width_ * height_, "a frame has height * width * 3 bytes");
  set_tags(out);
  if (sws_) {
    const uint8_t* source[4] = {frame.rgb.data()};
    const int stride[4] = {3 * width_};
    av_check(sws_scale(sws_.get(), source, stride, 0, height_, out->data, out->linesize), "sws_scale", "frame",
             ErrorCode::internal);
    return;
  }
  const YuvPlanes planes{out->data[0], out->data[1], out->data[2], out->linesize[0], out->linesize[1]};
  if (format_ == AV_PIX_FMT_YUV420P) {
    rgb_to_yuv420_bt709(frame.rgb.data(), width_, height_, planes);
  } else {
    rgb_to_yuv444_bt709(frame.rgb.data(), width_, height_, planes);
  }
}

}  // namespace t2v::media
