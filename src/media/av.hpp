// SPDX-License-Identifier: Apache-2.0
// libav* made safe: owning pointers, checked return codes, a quiet log, encoder lookup, and every
// difference between FFmpeg 4.4 and 8 in one place. Only files of src/media include this header.
//
//   media::UniquePacket packet = media::make_packet();
//   media::av_check(avcodec_send_frame(ctx, frame), "avcodec_send_frame", "out.mp4");
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavfilter/avfilter.h>
#include <libavformat/avformat.h>
#include <libavutil/dict.h>
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
}

#include "t2v/error.hpp"
#include "t2v/request.hpp"

namespace t2v::media {

/// Deleter for libav's two shapes of free function: f(T**) and f(T*).
template <auto release>
struct AvFree {
  template <class T>
  void operator()(T* pointer) const {
    if constexpr (std::is_invocable_v<decltype(release), T**>) {
      release(&pointer);
    } else {
      release(pointer);
    }
  }
};

using UniqueFrame = std::unique_ptr<AVFrame, AvFree<av_frame_free>>;
using UniquePacket = std::unique_ptr<AVPacket, AvFree<av_packet_free>>;
using UniqueCodecContext = std::unique_ptr<AVCodecContext, AvFree<avcodec_free_context>>;
using UniqueOutputContext = std::unique_ptr<AVFormatContext, AvFree<avformat_free_context>>;
using UniqueInputContext = std::unique_ptr<AVFormatContext, AvFree<avformat_close_input>>;
using UniqueFilterGraph = std::unique_ptr<AVFilterGraph, AvFree<avfilter_graph_free>>;
using UniqueFilterInOut = std::unique_ptr<AVFilterInOut, AvFree<avfilter_inout_free>>;
using UniqueSws = std::unique_ptr<SwsContext, AvFree<sws_freeContext>>;

UniqueFrame make_frame();
UniquePacket make_packet();
/// A frame with its own buffers (32-byte aligned rows).
UniqueFrame make_video_frame(AVPixelFormat format, int width, int height);

/// A key-value list that frees itself and reports what libav did not take.
class Options {
 public:
  Options() = default;
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;
  ~Options() { av_dict_free(&dict_); }
  void set(const std::string& key, const std::string& value) { av_dict_set(&dict_, key.c_str(), value.c_str(), 0); }
  AVDictionary** address() { return &dict_; }
  /// The first key still in the list: an option nobody knew. Empty: all were taken.
  std::string leftover() const;

 private:
  AVDictionary* dict_ = nullptr;
};

/// Passes `code` through when it is not negative; else throws Error{error} "where: call: libav's
/// words".
int av_check(int code, const char* call, const std::string& where, ErrorCode error = ErrorCode::output);
std::string av_words(int code);  ///< libav's text for an error code

/// Sends libav's log to ours at debug level (its errors are reported by av_check). Idempotent.
void quiet_libav();

AVRational to_av(Rational value);
Rational from_av(AVRational value);

/// The first encoder of `names` that this libavcodec has; null when none is there.
const AVCodec* first_encoder(std::span<const std::string> names);
std::vector<std::string> video_encoder_names();
std::vector<AVPixelFormat> supported_pixel_formats(const AVCodec* codec);  ///< empty: not known

/// Called for every file a (de)muxer wants to open itself.
using IoOpen = int (*)(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**);
using IoClose = int (*)(AVFormatContext*, AVIOContext*);
template <IoClose close>
void set_io_callbacks(AVFormatContext* context, IoOpen open) {
  context->io_open = open;
#if LIBAVFORMAT_VERSION_MAJOR >= 60  // FFmpeg 6: io_close2 returns the error; io_close went away in 8
  context->io_close2 = close;
#else
  context->io_close = [](AVFormatContext* c, AVIOContext* io) { close(c, io); };
#endif
}

/// Sets the length of a packet or frame in time base units (renamed in FFmpeg 6).
void set_frame_duration(AVFrame* frame, int64_t duration);
/// Degrees that a player turns the picture clockwise: 0, 90, 180 or 270.
int stream_rotation(const AVStream* stream);

#if LIBAVFORMAT_VERSION_MAJOR >= 61  // FFmpeg 7: the write callback takes const bytes
using AvioWriteBytes = const uint8_t*;
#else
using AvioWriteBytes = uint8_t*;
#endif

}  // namespace t2v::media
