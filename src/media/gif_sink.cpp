// SPDX-License-Identifier: Apache-2.0
// Animated GIF with one palette made from the whole clip (palettegen, paletteuse).
//
// Note: [Two passes in bounded memory]
// A palette needs every frame before the first one can be written. Frames are therefore spooled,
// raw, to an unnamed temporary file (3 bytes a pixel, in the output's folder), while palettegen
// counts their colours; finish() reads them back one by one. palettegen remembers every different
// colour, so after kExactPixels pixels colours are rounded to 5 bits a channel before they are
// counted: at most 2^15 + kExactPixels entries, whatever the length.
#include <cmath>
#include <cstring>
#include <optional>

#include <unistd.h>

#include "core/check.hpp"
#include "core/log.hpp"
#include "media/av.hpp"
#include "media/avio.hpp"
#include "media/encoder.hpp"
#include "media/filter_graph.hpp"
#include "media/gif_comment.hpp"
#include "media/output_file.hpp"
#include "media/sink_openers.hpp"

namespace t2v::media {

namespace {

constexpr int64_t kExactPixels = int64_t{1} << 18;  // palettegen takes up to 64 bytes a colour: 16 MB
constexpr int kMinDelay = 2;                        // hundredths of a second; browsers show 0 and 1 as 10

/// When frame i is shown, in hundredths of a second.
class GifClock {
 public:
  explicit GifClock(Rational fps) : fps_(fps) {
    if (fps.num > 50 * fps.den) {
      log::warn("gif: {} frames a second are shown as 50, the fastest that players keep", fps.value());
      fps_ = {50, 1};
    }
  }
  int64_t start(int64_t frame) const { return av_rescale(frame, 100 * fps_.den, fps_.num); }

 private:
  Rational fps_;
};

/// The frames' raw bytes on disk.
class Spool {
 public:
  Spool(const std::filesystem::path& folder, size_t frame_bytes)
      : fd_(open_unnamed_file(folder)), frame_bytes_(frame_bytes) {}
  ~Spool() { ::close(fd_); }
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  void append(std::span<const uint8_t> bytes, const std::string& where) { write_spool(fd_, bytes, where); }
  void read(int64_t frame, std::span<uint8_t> bytes, const std::string& where) const {
    size_t done = 0;
    while (done < bytes.size()) {
      const auto offset = static_cast<off_t>(frame_bytes_) * frame + static_cast<off_t>(done);
      const ssize_t got = ::pread(fd_, bytes.data() + done, bytes.size() - done, offset);
      if (got <= 0) throw Error(ErrorCode::output, "can't read back: temporary file of " + where);
      done += static_cast<size_t>(got);
    }
  }

 private:
  int fd_;
  size_t frame_bytes_;
};

/// 5 bits spread over 0..255, so that black stays black and white stays white.
uint8_t round_to_5_bits(uint8_t value) { return static_cast<uint8_t>((value & 0xF8) | (value >> 5)); }

/// rgb [H W 3] to BGRA words.
void to_bgra(std::span<const uint8_t> rgb, bool exact, AVFrame* out) {
  for (int y = 0; y < out->height; ++y) {
    uint8_t* row = out->data[0] + y * out->linesize[0];
    const uint8_t* source = rgb.data() + static_cast<size_t>(3) * y * out->width;
    for (int x = 0; x < out->width; ++x) {
      for (int c = 0; c < 3; ++c) {
        const uint8_t value = source[3 * x + 2 - c];
        row[4 * x + c] = exact ? value : round_to_5_bits(value);
      }
      row[4 * x + 3] = 255;
    }
  }
}

class GifSink final : public FrameSink {
 public:
  GifSink(const std::filesystem::path& path, const VideoSpec& spec)
      : width_(static_cast<int>(spec.width)),
        height_(static_cast<int>(spec.height)),
        metadata_(spec.metadata),
        clock_(checked_fps(spec.fps)) {
    refuse_encoder_settings(spec, "pal8");
    check_frame_size(spec.width, spec.height, AV_PIX_FMT_RGB24);
    file_.emplace(path, spec.overwrite);
    const auto folder = file_->seekable() ? path.parent_path() : std::filesystem::temp_directory_path();
    spool_.emplace(folder, static_cast<size_t>(3) * width_ * height_);
    statistics_.emplace("palettegen=stats_mode=diff", std::vector{source()});
    frame_ = make_video_frame(AV_PIX_FMT_BGRA, width_, height_);
  }

  ~GifSink() override {
    // FFmpeg 5.1's GIF muxer frees the packet it holds back in the trailer only.
    is_abandoned_ = true;
    if (needs_trailer_) av_write_trailer(muxer_.get());
  }

  void write(const FrameView& frame) override {
    T2V_CHECK(frame.width == width_ && frame.height == height_ &&
                  frame.rgb.size() == static_cast<size_t>(3) * width_ * height_,
              "a frame has the size its sink was opened with");
    spool_->append(frame.rgb, file_->where());
    const bool exact = (frames_ + 1) * width_ * height_ <= kExactPixels;
    push(*statistics_, frames_, frame.rgb, exact);
    ++frames_;
  }

  void finish() override {
    if (frames_ == 0) throw_no_frames(file_->where());
    statistics_->close(0);
    UniqueFrame palette = statistics_->pull();
    T2V_CHECK(palette, "palettegen gives one frame at the end");
    statistics_.reset();
    FilterGraph apply("[in0][in1]paletteuse=dither=bayer:bayer_scale=3:diff_mode=rectangle",
                      {source(), {AV_PIX_FMT_BGRA, palette->width, palette->height, {1, 100}}});
    palette->pts = 0;
    apply.push(1, palette.get());
    apply.close(1);
    encode_all(apply);
    file_->commit();
  }

 private:
  FilterGraph::Source source() const { return {AV_PIX_FMT_BGRA, width_, height_, {1, 100}}; }

  void push(FilterGraph& graph, int64_t pts, std::span<const uint8_t> rgb, bool exact) {
    av_check(av_frame_make_writable(frame_.get()), "av_frame_make_writable", file_->where(), ErrorCode::no_resource);
    to_bgra(rgb, exact, frame_.get());
    frame_->pts = pts;
    graph.push(0, frame_.get());
  }

  void open_muxer() {
    const std::string& where = file_->where();
    AVFormatContext* context = nullptr;
    av_check(avformat_alloc_output_context2(&context, nullptr, "gif", nullptr), "avformat_alloc_output_context2", where,
             ErrorCode::unsupported);
    muxer_.reset(context);
    const std::string names[] = {"gif"};
    const AVCodec* codec = first_encoder(names);
    if (!codec) throw Error(ErrorCode::unsupported, "this FFmpeg has no GIF encoder");
    codec_.reset(avcodec_alloc_context3(codec));
    codec_->width = width_;
    codec_->height = height_;
    codec_->pix_fmt = AV_PIX_FMT_PAL8;
    codec_->time_base = {1, 100};
    codec_->flags |= AV_CODEC_FLAG_BITEXACT;
    av_check(avcodec_open2(codec_.get(), codec, nullptr), "avcodec_open2", where);
    AVStream* stream = avformat_new_stream(context, nullptr);
    if (!stream) throw Error(ErrorCode::no_resource, where + ": out of memory");
    av_check(avcodec_parameters_from_context(stream->codecpar, codec_.get()), "avcodec_parameters_from_context", where);
    stream->time_base = codec_->time_base;
    context->flags |= AVFMT_FLAG_BITEXACT;
    comment_.emplace(*file_, metadata_);
    io_.emplace(context, *file_, [this](std::span<const uint8_t> bytes) {
      return is_abandoned_ ? static_cast<int>(bytes.size()) : comment_->try_write(bytes);
    });
    Options options;
    options.set("loop", "0");
    options.set("final_delay",
                std::to_string(std::max<int64_t>(kMinDelay, clock_.start(frames_) - clock_.start(frames_ - 1))));
    checked(avformat_write_header(context, options.address()), "avformat_write_header");
    needs_trailer_ = true;
  }

  void encode_all(FilterGraph& graph) {
    open_muxer();
    UniquePacket packet = make_packet();
    std::vector<uint8_t> rgb(static_cast<size_t>(3) * width_ * height_);
    for (int64_t i = 0; i < frames_; ++i) {
      spool_->read(i, rgb, file_->where());
      push(graph, clock_.start(i), rgb, true);
      while (UniqueFrame frame = graph.pull()) encode(frame.get(), packet.get());
    }
    graph.close(0);
    while (UniqueFrame frame = graph.pull()) encode(frame.get(), packet.get());
    encode(nullptr, packet.get());
    T2V_CHECK(written_ == frames_, "every frame passes the filter graph");
    needs_trailer_ = false;
    checked(av_write_trailer(muxer_.get()), "av_write_trailer");
    io_->flush();
  }

  void encode(AVFrame* frame, AVPacket* packet) {
    av_check(avcodec_send_frame(codec_.get(), frame), "avcodec_send_frame", file_->where());
    while (true) {
      const int code = avcodec_receive_packet(codec_.get(), packet);
      if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return;
      av_check(code, "avcodec_receive_packet", file_->where());
      packet->stream_index = 0;
      packet->duration = clock_.start(written_ + 1) - clock_.start(written_);
      checked(av_write_frame(muxer_.get(), packet), "av_write_frame");
      av_packet_unref(packet);
      ++written_;
      file_->rethrow();
    }
  }

  int checked(int code, const char* call) const {
    if (code < 0) file_->rethrow();
    return av_check(code, call, file_->where());
  }

  int width_, height_;
  std::string metadata_;
  GifClock clock_;
  std::optional<OutputFile> file_;
  std::optional<Spool> spool_;
  std::optional<FilterGraph> statistics_;
  UniqueFrame frame_;
  int64_t frames_ = 0, written_ = 0;
  bool needs_trailer_ = false, is_abandoned_ = false;
  UniqueCodecContext codec_;
  UniqueOutputContext muxer_;
  std::optional<GifCommentWriter> comment_;
  std::optional<AvioOutput> io_;
};

}  // namespace

std::unique_ptr<FrameSink> open_gif_sink(const std::filesystem::path& path, const VideoSpec& spec) {
  return std::make_unique<GifSink>(path, spec);
}

}  // namespace t2v::media
