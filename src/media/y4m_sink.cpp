// SPDX-License-Identifier: Apache-2.0
// YUV4MPEG2: a text header and raw planes, to a file or a pipe. The format has no field for the
// matrix; ours is always BT.709 limited range. 4:2:0 is tagged C420jpeg because its chroma samples
// lie in the middle of their 2x2 pixels.
#include <cstring>
#include <optional>

#include "core/text.hpp"
#include "media/av.hpp"
#include "media/convert.hpp"
#include "media/encoder.hpp"
#include "media/output_file.hpp"
#include "media/sidecar.hpp"
#include "media/sink_openers.hpp"

namespace t2v::media {

namespace {

struct Sampling {
  const char* name;
  AVPixelFormat format;
  const char* tags;
};

constexpr Sampling kSamplings[] = {
    {"yuv420p", AV_PIX_FMT_YUV420P, "C420jpeg XYSCSS=420JPEG"},
    {"yuv422p", AV_PIX_FMT_YUV422P, "C422 XYSCSS=422"},
    {"yuv444p", AV_PIX_FMT_YUV444P, "C444 XYSCSS=444"},
};

const Sampling& pick_sampling(const std::string& pix_fmt) {
  if (pix_fmt.empty()) return kSamplings[0];
  std::vector<std::string> names;
  for (const Sampling& row : kSamplings) {
    if (pix_fmt == row.name) return row;
    names.emplace_back(row.name);
  }
  throw Error(ErrorCode::usage, "--pix-fmt: " + pix_fmt + ": wanted a pixel format of y4m",
              did_you_mean(pix_fmt, names));
}

class Y4mSink final : public FrameSink {
 public:
  Y4mSink(const std::filesystem::path& path, const VideoSpec& spec)
      : sampling_(pick_sampling(spec.pix_fmt)), fps_(checked_fps(spec.fps)), width_(spec.width), height_(spec.height) {
    refuse_encoder_settings(spec);
    check_frame_size(width_, height_, sampling_.format);
    file_.emplace(path, spec.overwrite);
    if (file_->seekable() && !spec.metadata.empty()) sidecar_.emplace(path, spec.metadata, spec.overwrite);
    converter_.emplace(width_, height_, sampling_.format);
    frame_ = make_video_frame(sampling_.format, static_cast<int>(width_), static_cast<int>(height_));
  }

  void write(const FrameView& frame) override {
    converter_->convert(frame, frame_.get());
    packed_.clear();
    if (frames_++ == 0) append(header());
    append("FRAME\n");
    const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(sampling_.format);
    for (int plane = 0; plane < 3; ++plane) {
      const int64_t width = plane == 0 ? width_ : width_ >> descriptor->log2_chroma_w;
      const int64_t height = plane == 0 ? height_ : height_ >> descriptor->log2_chroma_h;
      for (int64_t y = 0; y < height; ++y) {
        const uint8_t* row = frame_->data[plane] + y * frame_->linesize[plane];
        packed_.insert(packed_.end(), row, row + width);
      }
    }
    file_->write(packed_);
  }

  void finish() override {
    if (frames_ == 0) throw_no_frames(file_->where());
    file_->commit();
    if (sidecar_) sidecar_->commit();
  }

 private:
  std::string header() const {
    return "YUV4MPEG2 W" + std::to_string(width_) + " H" + std::to_string(height_) + " F" + std::to_string(fps_.num) +
           ":" + std::to_string(fps_.den) + " Ip A1:1 " + sampling_.tags + " XCOLORRANGE=LIMITED\n";
  }
  void append(std::string_view text) { packed_.insert(packed_.end(), text.begin(), text.end()); }

  Sampling sampling_;
  Rational fps_;
  int64_t width_, height_;
  std::optional<OutputFile> file_;
  std::optional<Sidecar> sidecar_;
  std::optional<FrameConverter> converter_;
  UniqueFrame frame_;
  std::vector<uint8_t> packed_;  // one frame as written; keeps its capacity
  int64_t frames_ = 0;
};

}  // namespace

std::unique_ptr<FrameSink> open_y4m_sink(const std::filesystem::path& path, const VideoSpec& spec) {
  return std::make_unique<Y4mSink>(path, spec);
}

}  // namespace t2v::media
