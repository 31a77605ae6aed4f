// SPDX-License-Identifier: Apache-2.0
#include "media/encoder.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <string_view>

#include "core/log.hpp"
#include "core/text.hpp"

extern "C" {
#include <libavutil/opt.h>
}

namespace t2v::media {

namespace {

constexpr int64_t kMaxSide = 16384;
constexpr int64_t kMaxFps = 240;

/// What we know of an encoder beyond what libav can tell. One row an encoder; others get no crf and
/// no preset.
struct EncoderRow {
  std::string_view name;
  int default_crf;  ///< -1: the encoder has no crf
  int max_crf;
  std::string_view preset_option;  ///< empty: none
  std::string_view default_preset;
  std::string_view presets;  ///< space separated, or "0-13"
};

constexpr std::string_view kX264Presets =
    "ultrafast superfast veryfast faster fast medium slow slower veryslow placebo";

constexpr EncoderRow kEncoders[] = {
    {"libx264", 18, 51, "preset", "medium", kX264Presets},
    {"libx264rgb", 18, 51, "preset", "medium", kX264Presets},
    {"libx265", 20, 51, "preset", "medium", kX264Presets},
    {"libvpx-vp9", 24, 63, "deadline", "good", "best good realtime"},
    {"libvpx", 10, 63, "deadline", "good", "best good realtime"},
    {"libsvtav1", 24, 63, "preset", "8", "0-13"},
    {"libaom-av1", 24, 63, "cpu-used", "6", "0-8"},
};

const EncoderRow* encoder_row(std::string_view name) {
  const auto* row =
      std::find_if(std::begin(kEncoders), std::end(kEncoders), [&](const auto& r) { return r.name == name; });
  return row == std::end(kEncoders) ? nullptr : row;
}

[[noreturn]] void usage(const std::string& message, std::string hint = {}) {
  throw Error(ErrorCode::usage, message, std::move(hint));
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

AVPixelFormat pick_pixel_format(const AVCodec* codec, const std::string& wanted) {
  const std::vector<AVPixelFormat> supported = supported_pixel_formats(codec);
  const auto has = [&](AVPixelFormat f) { return std::find(supported.begin(), supported.end(), f) != supported.end(); };
  if (wanted.empty()) {
    for (const AVPixelFormat format : {AV_PIX_FMT_YUV420P, AV_PIX_FMT_RGB24, AV_PIX_FMT_BGR0, AV_PIX_FMT_YUV422P10}) {
      if (supported.empty() || has(format)) return format;
    }
    return supported.front();
  }
  const AVPixelFormat format = av_get_pix_fmt(wanted.c_str());
  if (format != AV_PIX_FMT_NONE && (supported.empty() || has(format)) && sws_isSupportedOutput(format)) return format;
  std::vector<std::string> names;
  for (const AVPixelFormat candidate : supported) {
    if (sws_isSupportedOutput(candidate)) names.emplace_back(av_get_pix_fmt_name(candidate));
  }
  usage("--pix-fmt: " + wanted + ": wanted a pixel format of " + codec->name, did_you_mean(wanted, names));
}

void set_quality(const EncoderRow* row, const EncoderRequest& request, AVCodecContext* context, Options& options) {
  const std::string name = context->codec->name;
  if (!row || row->default_crf < 0) {
    if (request.crf >= 0) usage("--crf: the encoder " + name + " has no constant quality mode", "leave --crf out");
    if (name == "mpeg4") {
      context->flags |= AV_CODEC_FLAG_QSCALE;
      context->global_quality = 3 * FF_QP2LAMBDA;  // 2..31, 3 is visually close to x264's crf 18
    } else if (context->codec_id == AV_CODEC_ID_H264) {
      // libopenh264 and hardware encoders know bit rates only: 0.2 bits a pixel.
      context->bit_rate = static_cast<int64_t>(0.2 * request.width * request.height * request.fps.value()) + 100'000;
    }
    return;
  }
  if (request.crf > row->max_crf) {
    usage("--crf: " + name + ": wanted 0 to " + std::to_string(row->max_crf) + ", got " + std::to_string(request.crf));
  }
  options.set("crf", std::to_string(request.crf >= 0 ? request.crf : row->default_crf));
  if (name.starts_with("libvpx") || name.starts_with("libaom")) {
    context->bit_rate = 0;  // else crf is only a bound of the bit rate mode
    if (name == "libvpx-vp9") options.set("cpu-used", "4");
    if (name == "libvpx") context->bit_rate = 100'000'000;  // VP8: crf needs a ceiling to work under
  }
}

void set_preset(const EncoderRow* row, const EncoderRequest& request, const std::string& name, Options& options) {
  if (!row || row->preset_option.empty()) {
    if (!request.preset.empty()) usage("--preset: the encoder " + name + " has no presets", "leave --preset out");
    return;
  }
  const std::string preset = request.preset.empty() ? std::string(row->default_preset) : request.preset;
  std::vector<std::string> known = split_words(row->presets);
  if (const size_t dash = row->presets.find('-'); dash != std::string_view::npos) {
    known.clear();
    const int last = std::stoi(std::string(row->presets.substr(dash + 1)));
    for (int i = std::stoi(std::string(row->presets)); i <= last; ++i) known.push_back(std::to_string(i));
  }
  if (std::find(known.begin(), known.end(), preset) == known.end()) {
    usage("--preset: " + preset + ": wanted a preset of " + name, did_you_mean(preset, known));
  }
  options.set(std::string(row->preset_option), preset);
}

/// Two encoders print to standard error by themselves, past libav's log.
void quiet_encoder(const std::string& name, Options& options) {
  if (name == "libx265") options.set("x265-params", "log-level=none");
  if (name == "libsvtav1") ::setenv("SVT_LOG", "1", 0);  // errors only; no other switch exists
}

std::vector<std::string> option_names(const AVCodecContext* context) {
  std::vector<std::string> names;
  const AVOption* option = nullptr;
  while ((option = av_opt_next(context->priv_data, option))) {
    if (option->type != AV_OPT_TYPE_CONST) names.emplace_back(option->name);
  }
  return names;
}

const AVCodec* pick_encoder(const std::vector<std::string>& names) {
  const AVCodec* codec = first_encoder(names);
  if (!codec) {
    throw Error(ErrorCode::unsupported, "--codec: this FFmpeg has none of the encoders " + join(names, ", "),
                "install an FFmpeg with one of them, or choose .gif, .png or .y4m as output");
  }
  if (names.front() != codec->name) {
    log::warn("the encoder {} is not in this FFmpeg; using {}", names.front(), codec->name);
  }
  return codec;
}

}  // namespace

std::vector<std::string> codec_candidates(const std::string& name) {
  static const std::map<std::string, std::vector<std::string>> aliases = {
      {"h264", {"libx264", "libopenh264"}},
      {"x264", {"libx264"}},
      {"avc", {"libx264", "libopenh264"}},
      {"hevc", {"libx265"}},
      {"h265", {"libx265"}},
      {"x265", {"libx265"}},
      {"vp9", {"libvpx-vp9"}},
      {"vp8", {"libvpx"}},
      {"av1", {"libsvtav1", "libaom-av1"}},
      {"prores", {"prores_ks", "prores"}},
  };
  if (const auto alias = aliases.find(name); alias != aliases.end()) return alias->second;
  std::vector<std::string> known = video_encoder_names();
  if (std::find(known.begin(), known.end(), name) != known.end()) return {name};
  for (const auto& [alias, _] : aliases) known.push_back(alias);
  std::string hint = "ffmpeg -encoders lists them";
  if (const auto near = closest(name, known)) hint = "did you mean '" + *near + "'?";
  usage("--codec: " + name + ": wanted a video encoder of this FFmpeg", hint);
}

void check_frame_size(int64_t width, int64_t height, AVPixelFormat format) {
  const std::string got = std::to_string(width) + "x" + std::to_string(height);
  if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide) {
    usage("video size: wanted 1 to " + std::to_string(kMaxSide) + " pixels a side, got " + got);
  }
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
  if (!descriptor || (descriptor->flags & AV_PIX_FMT_FLAG_RGB)) return;
  const int64_t step_x = int64_t{1} << descriptor->log2_chroma_w, step_y = int64_t{1} << descriptor->log2_chroma_h;
  if (width % step_x == 0 && height % step_y == 0) return;
  const auto nearest = [](int64_t side, int64_t step) { return (side + step - 1) / step * step; };
  const std::string need = step_y > 1 ? "an even width and height" : "an even width";
  usage("video size: " + std::string(descriptor->name) + ": wanted " + need + ", got " + got,
        "use --size " + std::to_string(nearest(width, step_x)) + "x" + std::to_string(nearest(height, step_y)) +
            ", or --pix-fmt yuv444p where the codec has it");
}

Rational checked_fps(Rational fps) {
  if (fps.num <= 0 || fps.den <= 0 || fps.value() > kMaxFps) {
    usage("--fps: wanted more than 0 and at most " + std::to_string(kMaxFps) + ", got " + std::to_string(fps.num) +
          "/" + std::to_string(fps.den));
  }
  const int64_t divisor = std::gcd(fps.num, fps.den);
  fps = {fps.num / divisor, fps.den / divisor};
  if (fps.num > 1'000'000 || fps.den > 1'000'000) {
    int num = 0, den = 1;  // keeps the value to 1e-12, in terms that every container can hold
    av_reduce(&num, &den, fps.num, fps.den, 1'000'000);
    if (num <= 0) usage("--fps: wanted more than 0, got " + std::to_string(fps.value()));
    fps = {num, den};
  }
  return fps;
}

VideoEncoder::VideoEncoder(const EncoderRequest& request) {
  quiet_libav();
  const AVCodec* codec = pick_encoder(request.codecs);
  name_ = codec->name;
  const AVPixelFormat format = pick_pixel_format(codec, request.pix_fmt);
  check_frame_size(request.width, request.height, format);

  context_.reset(avcodec_alloc_context3(codec));
  if (!context_) throw Error(ErrorCode::no_resource, "encoder " + name_ + ": out of memory");
  const ColorTags tags = request.is_tagged ? color_tags(format, codec->id) : ColorTags::none();
  context_->width = static_cast<int>(request.width);
  context_->height = static_cast<int>(request.height);
  context_->pix_fmt = format;
  context_->framerate = to_av(request.fps);
  context_->time_base = av_inv_q(context_->framerate);
  context_->sample_aspect_ratio = {1, 1};
  context_->colorspace = tags.matrix;
  context_->color_range = tags.range;
  context_->color_primaries = tags.primaries;
  context_->color_trc = tags.transfer;
  context_->chroma_sample_location = tags.chroma;
  context_->thread_count = request.threads;
  context_->gop_size = std::max(12, static_cast<int>(std::lround(request.fps.value())));  // seekable to about a second
  context_->flags |= AV_CODEC_FLAG_BITEXACT;
  if (request.global_header) context_->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;

  Options options;
  const EncoderRow* row = encoder_row(name_);
  set_quality(row, request, context_.get(), options);
  set_preset(row, request, name_, options);
  quiet_encoder(name_, options);
  for (const auto& [key, value] : request.options) options.set(key, value);
  if (const int code = avcodec_open2(context_.get(), codec, options.address()); code < 0) {
    throw Error(ErrorCode::unsupported, "encoder " + name_ + ": can't be opened: " + av_words(code),
                "run with -v to see what it says, or choose another --codec");
  }
  if (const std::string unknown = options.leftover(); !unknown.empty()) {
    usage("encoder " + name_ + ": unknown option " + unknown, did_you_mean(unknown, option_names(context_.get())));
  }
  converter_ = std::make_unique<FrameConverter>(request.width, request.height, format, tags);
  frame_ = make_video_frame(format, context_->width, context_->height);
  packet_ = make_packet();
}

void VideoEncoder::encode(const FrameView& frame, const std::string& where, const PacketHandler& handler) {
  make_writable(where);
  converter_->convert(frame, frame_.get());
  send(where, handler);
}

void VideoEncoder::encode(const Yuv420View& frame, const std::string& where, const PacketHandler& handler) {
  make_writable(where);
  converter_->copy(frame, frame_.get());
  send(where, handler);
}

/// The encoder may still hold the previous picture; then this gives us fresh buffers.
void VideoEncoder::make_writable(const std::string& where) {
  av_check(av_frame_make_writable(frame_.get()), "av_frame_make_writable", where, ErrorCode::no_resource);
}

void VideoEncoder::send(const std::string& where, const PacketHandler& handler) {
  frame_->pts = next_pts_++;
  frame_->pict_type = AV_PICTURE_TYPE_NONE;
  set_frame_duration(frame_.get(), 1);
  av_check(avcodec_send_frame(context_.get(), frame_.get()), "avcodec_send_frame", where);
  receive(where, handler);
}

void VideoEncoder::drain(const std::string& where, const PacketHandler& handler) {
  av_check(avcodec_send_frame(context_.get(), nullptr), "avcodec_send_frame", where);
  receive(where, handler);
}

void VideoEncoder::receive(const std::string& where, const PacketHandler& handler) {
  while (true) {
    const int code = avcodec_receive_packet(context_.get(), packet_.get());
    if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return;
    av_check(code, "avcodec_receive_packet", where);
    if (packet_->duration == 0) packet_->duration = 1;
    handler(packet_.get());
    av_packet_unref(packet_.get());
  }
}

}  // namespace t2v::media
