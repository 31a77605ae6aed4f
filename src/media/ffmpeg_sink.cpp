// SPDX-License-Identifier: Apache-2.0
// MP4, MOV, Matroska and WebM through libavformat. The order of calls is that of FFmpeg's
// doc/examples/mux.c.
#include <algorithm>
#include <optional>

#include "core/log.hpp"
#include "media/av.hpp"
#include "media/avio.hpp"
#include "media/encoder.hpp"
#include "media/output_file.hpp"
#include "media/sink_openers.hpp"

extern "C" {
#include <libavutil/opt.h>
}

namespace t2v::media {

namespace {

struct ContainerRow {
  std::string_view format;  ///< ours
  const char* muxer;        ///< libav's
  bool is_mp4_like;
  std::vector<std::string> codecs;  ///< default encoders, best first; those after the first serve
                                    ///< FFmpeg builds without it
};

const ContainerRow& container_row(std::string_view format) {
  static const ContainerRow rows[] = {
      {"mp4", "mp4", true, {"libx264", "libopenh264", "mpeg4"}},
      {"mov", "mov", true, {"libx264", "libopenh264", "mpeg4"}},
      {"mkv", "matroska", false, {"libx264", "libopenh264", "mpeg4"}},
      {"webm", "webm", false, {"libvpx-vp9", "libvpx", "libsvtav1", "libaom-av1"}},
  };
  return *std::find_if(std::begin(rows), std::end(rows), [&](const auto& row) { return row.format == format; });
}

class FfmpegSink final : public FrameSink, private Yuv420Sink {
 public:
  FfmpegSink(const std::filesystem::path& path, const VideoSpec& spec);
  ~FfmpegSink() override = default;
  void write(const FrameView& frame) override;
  void finish() override;
  Yuv420Sink* yuv420() override { return encoder_->takes_yuv420() ? this : nullptr; }

 private:
  void write_yuv420(const Yuv420View& frame) override;
  void check_codec_fits(const ContainerRow& row) const;
  void set_container_options(const ContainerRow& row, const VideoSpec& spec, Options& options);
  void mux(AVPacket* packet);
  int checked(int code, const char* call) const;

  std::optional<VideoEncoder> encoder_;
  std::optional<OutputFile> file_;
  UniqueOutputContext muxer_;
  std::optional<AvioOutput> io_;  // after muxer_: destroyed first, libav does not touch it while freeing
  AVStream* stream_ = nullptr;    // of muxer_
  VideoEncoder::PacketHandler mux_packet_ = [this](AVPacket* packet) { mux(packet); };
  int64_t frames_ = 0;
};

FfmpegSink::FfmpegSink(const std::filesystem::path& path, const VideoSpec& spec) {
  const ContainerRow& row = container_row(spec.format);
  AVFormatContext* context = nullptr;
  av_check(avformat_alloc_output_context2(&context, nullptr, row.muxer, nullptr), "avformat_alloc_output_context2",
           path.string(), ErrorCode::unsupported);
  muxer_.reset(context);
  // Everything the user may have got wrong is checked before the file is touched.
  encoder_.emplace(EncoderRequest{
      .width = spec.width,
      .height = spec.height,
      .fps = checked_fps(spec.fps),
      .codecs = spec.codec.empty() ? row.codecs : codec_candidates(spec.codec),
      .pix_fmt = spec.pix_fmt,
      .preset = spec.preset,
      .crf = spec.crf,
      .global_header = (context->oformat->flags & AVFMT_GLOBALHEADER) != 0,
      .options = {},
  });
  check_codec_fits(row);

  file_.emplace(path, spec.overwrite);
  io_.emplace(context, *file_);
  context->flags |= AVFMT_FLAG_BITEXACT;  // no version strings, fixed ids: same input, same bytes
  context->url = av_strdup(file_->where().c_str());
  stream_ = avformat_new_stream(context, nullptr);
  if (!stream_ || !context->url) throw Error(ErrorCode::no_resource, file_->where() + ": out of memory");
  const AVCodecContext* codec = encoder_->context();
  av_check(avcodec_parameters_from_context(stream_->codecpar, codec), "avcodec_parameters_from_context",
           file_->where());
  stream_->time_base = codec->time_base;
  stream_->avg_frame_rate = codec->framerate;
  stream_->r_frame_rate = codec->framerate;
  if (!spec.metadata.empty()) av_dict_set(&context->metadata, "comment", spec.metadata.c_str(), 0);

  Options options;
  set_container_options(row, spec, options);
  checked(avformat_write_header(context, options.address()), "avformat_write_header");
  if (const std::string unknown = options.leftover(); !unknown.empty()) {
    throw Error(ErrorCode::unsupported, file_->where() + ": this FFmpeg's muxer has no option " + unknown);
  }
}

void FfmpegSink::check_codec_fits(const ContainerRow& row) const {
  if (avformat_query_codec(muxer_->oformat, encoder_->context()->codec_id, FF_COMPLIANCE_NORMAL) != 0) return;
  throw Error(ErrorCode::usage,
              "--codec: " + encoder_->name() + ": wanted a codec that " + std::string(row.format) + " can hold",
              row.format == "webm" ? "WebM takes vp9, vp8 or av1; .mkv takes any" : ".mkv takes any codec");
}

void FfmpegSink::set_container_options(const ContainerRow& row, const VideoSpec& spec, Options& options) {
  if (row.is_mp4_like) {
    // faststart moves the index to the front in a second pass; a pipe has no second pass, so the
    // file is fragmented (delay_moov: with the edit list that makes the first frame start at 0).
    std::string flags = file_->seekable() ? "+faststart" : "+frag_keyframe+delay_moov+default_base_moof";
    if (!spec.metadata.empty()) flags += "+use_metadata_tags";
    options.set("movflags", flags);
    // The header's duration in units of the frame rate instead of milliseconds (FFmpeg 4.4 has no
    // such option).
    const int64_t rate = encoder_->context()->framerate.num;
    if (av_opt_find(muxer_->priv_data, "movie_timescale", nullptr, 0, 0)) {
      options.set("movie_timescale", std::to_string(rate * ((999 + rate) / rate)));
    }
  }
}

int FfmpegSink::checked(int code, const char* call) const {
  if (code < 0) file_->rethrow();  // the system's own error, when it was one
  return av_check(code, call, file_->where());
}

void FfmpegSink::mux(AVPacket* packet) {
  av_packet_rescale_ts(packet, encoder_->context()->time_base, stream_->time_base);
  packet->stream_index = stream_->index;
  checked(av_interleaved_write_frame(muxer_.get(), packet), "av_interleaved_write_frame");
  file_->rethrow();  // muxers may swallow an error of the file until the trailer
}

void FfmpegSink::write(const FrameView& frame) {
  encoder_->encode(frame, file_->where(), mux_packet_);
  ++frames_;
}

void FfmpegSink::write_yuv420(const Yuv420View& frame) {
  encoder_->encode(frame, file_->where(), mux_packet_);
  ++frames_;
}

void FfmpegSink::finish() {
  if (frames_ == 0) throw_no_frames(file_->where());
  encoder_->drain(file_->where(), mux_packet_);
  checked(av_write_trailer(muxer_.get()), "av_write_trailer");
  io_->flush();
  file_->commit();
}

}  // namespace

std::unique_ptr<FrameSink> open_video_sink(const std::filesystem::path& path, const VideoSpec& spec) {
  return std::make_unique<FfmpegSink>(path, spec);
}

}  // namespace t2v::media
