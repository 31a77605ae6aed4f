// SPDX-License-Identifier: Apache-2.0
#include "media/av.hpp"

#include <cmath>
#include <mutex>

#include "core/log.hpp"

extern "C" {
#include <libavutil/display.h>
#include <libavutil/log.h>
#include <libavutil/opt.h>
}

namespace t2v::media {

namespace {

void forward_log(void* source, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_WARNING) return;
  char line[1024];
  int print_prefix = 1;
  av_log_format_line2(source, level, format, arguments, line, sizeof line, &print_prefix);
  std::string_view text(line);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  if (!text.empty()) log::debug("libav: {}", text);
}

}  // namespace

UniqueFrame make_frame() {
  UniqueFrame frame(av_frame_alloc());
  if (!frame) throw Error(ErrorCode::no_resource, "video frame: out of memory");
  return frame;
}

UniquePacket make_packet() {
  UniquePacket packet(av_packet_alloc());
  if (!packet) throw Error(ErrorCode::no_resource, "video packet: out of memory");
  return packet;
}

UniqueFrame make_video_frame(AVPixelFormat format, int width, int height) {
  UniqueFrame frame = make_frame();
  frame->format = format;
  frame->width = width;
  frame->height = height;
  av_check(av_frame_get_buffer(frame.get(), 0), "av_frame_get_buffer", "video frame", ErrorCode::no_resource);
  return frame;
}

std::string Options::leftover() const {
  const AVDictionaryEntry* entry = av_dict_get(dict_, "", nullptr, AV_DICT_IGNORE_SUFFIX);
  return entry ? entry->key : "";
}

std::string av_words(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof text);
  return text;
}

int av_check(int code, const char* call, const std::string& where, ErrorCode error) {
  if (code >= 0) return code;
  if (code == AVERROR(ENOMEM)) error = ErrorCode::no_resource;
  throw Error(error, where + ": " + call + ": " + av_words(code));
}

void quiet_libav() {
  static std::once_flag once;
  std::call_once(once, [] { av_log_set_callback(forward_log); });
}

AVRational to_av(Rational value) { return {static_cast<int>(value.num), static_cast<int>(value.den)}; }

Rational from_av(AVRational value) { return {value.num, value.den > 0 ? value.den : 1}; }

const AVCodec* first_encoder(std::span<const std::string> names) {
  for (const std::string& name : names) {
    if (const AVCodec* codec = avcodec_find_encoder_by_name(name.c_str())) return codec;
  }
  return nullptr;
}

std::vector<std::string> video_encoder_names() {
  std::vector<std::string> names;
  void* cursor = nullptr;
  while (const AVCodec* codec = av_codec_iterate(&cursor)) {
    if (av_codec_is_encoder(codec) && codec->type == AVMEDIA_TYPE_VIDEO) names.emplace_back(codec->name);
  }
  return names;
}

std::vector<AVPixelFormat> supported_pixel_formats(const AVCodec* codec) {
  std::vector<AVPixelFormat> formats;
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(61, 13, 100)  // FFmpeg 7.1; AVCodec::pix_fmts is removed later
  const void* list = nullptr;
  int count = 0;
  if (avcodec_get_supported_config(nullptr, codec, AV_CODEC_CONFIG_PIX_FORMAT, 0, &list, &count) >= 0 && list) {
    const auto* first = static_cast<const AVPixelFormat*>(list);
    formats.assign(first, first + count);
  }
#else
  for (const AVPixelFormat* format = codec->pix_fmts; format && *format != AV_PIX_FMT_NONE; ++format) {
    formats.push_back(*format);
  }
#endif
  return formats;
}

void set_frame_duration(AVFrame* frame, int64_t duration) {
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)  // FFmpeg 6
  frame->duration = duration;
#else
  frame->pkt_duration = duration;
#endif
}

int stream_rotation(const AVStream* stream) {
  const uint8_t* matrix = nullptr;
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 29, 100)  // FFmpeg 6.1 moved side data to codecpar
  const AVPacketSideData* data = av_packet_side_data_get(
      stream->codecpar->coded_side_data, stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  if (data && data->size >= 9 * sizeof(int32_t)) matrix = data->data;
#else
  matrix = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, nullptr);
#endif
  if (!matrix) return 0;
  const double degrees = av_display_rotation_get(reinterpret_cast<const int32_t*>(matrix));
  if (!std::isfinite(degrees)) return 0;
  const int quarter_turns = static_cast<int>(std::lround(-degrees / 90.0));
  return ((quarter_turns % 4 + 4) % 4) * 90;  // av_display counts anticlockwise
}

}  // namespace t2v::media
