// SPDX-License-Identifier: Apache-2.0
#include "media/video_reader.hpp"

#include <algorithm>
#include <map>
#include <optional>

#include "media/avio.hpp"
#include "media/png_file.hpp"
#include "media/to_rgb.hpp"
#include "media/webp_reader.hpp"

namespace t2v::media {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void bad_input(const std::string& where, const std::string& what, std::string hint = {}) {
  throw Error(ErrorCode::bad_input, where + ": " + what, std::move(hint));
}

std::string or_unknown(const char* name) { return name ? name : "unknown"; }

/// One file through libavformat and libavcodec.
class FileReader final : public VideoReader {
 public:
  FileReader(const fs::path& path, const VideoLimits& limits);
  const VideoInfo& info() const override { return info_; }
  bool next(std::vector<uint8_t>& rgb) override;

 private:
  void open_container();
  void open_decoder();
  void read_info();
  bool decode_next();
  void check_size(int64_t width, int64_t height) const;

  std::string where_;
  VideoLimits limits_;
  AvioInput input_;
  UniqueInputContext container_;
  UniqueCodecContext decoder_;
  UniqueFrame frame_ = make_frame();
  UniquePacket packet_ = make_packet();
  std::optional<RgbConverter> converter_;
  AVStream* stream_ = nullptr;  // of container_
  VideoInfo info_;
  int64_t frames_ = 0;
  bool draining_ = false;
};

FileReader::FileReader(const fs::path& path, const VideoLimits& limits)
    : where_(path.string()), limits_(limits), input_(path) {
  open_container();
  open_decoder();
  read_info();
}

void FileReader::open_container() {
  container_ = input_.open_container();
  AVFormatContext* context = container_.get();
  if (const int found = avformat_find_stream_info(context, nullptr); found < 0) {
    bad_input(where_, "no stream can be read: " + av_words(found));
  }
  const int index = av_find_best_stream(context, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  if (index < 0) bad_input(where_, "wanted a video or a picture, got a file without one");
  for (unsigned i = 0; i < context->nb_streams; ++i) {
    if (static_cast<int>(i) != index) context->streams[i]->discard = AVDISCARD_ALL;
  }
  stream_ = context->streams[index];
}

void FileReader::open_decoder() {
  const AVCodec* codec = avcodec_find_decoder(stream_->codecpar->codec_id);
  if (!codec) {
    throw Error(ErrorCode::unsupported,
                where_ + ": this FFmpeg has no decoder for " + avcodec_get_name(stream_->codecpar->codec_id));
  }
  check_size(stream_->codecpar->width, stream_->codecpar->height);
  decoder_.reset(avcodec_alloc_context3(codec));
  if (!decoder_) throw Error(ErrorCode::no_resource, where_ + ": out of memory");
  av_check(avcodec_parameters_to_context(decoder_.get(), stream_->codecpar), "avcodec_parameters_to_context", where_,
           ErrorCode::bad_input);
  decoder_->max_pixels = limits_.max_pixels;
  decoder_->thread_count = 2;
  decoder_->pkt_timebase = stream_->time_base;
  av_check(avcodec_open2(decoder_.get(), codec, nullptr), "avcodec_open2", where_, ErrorCode::bad_input);
}

void FileReader::read_info() {
  const AVCodecParameters* parameters = stream_->codecpar;
  const bool is_y4m = std::string_view(container_->iformat->name) == "yuv4mpegpipe";
  info_.rotation = stream_rotation(stream_);
  const bool is_turned = info_.rotation % 180 != 0;
  info_.width = is_turned ? parameters->height : parameters->width;
  info_.height = is_turned ? parameters->width : parameters->height;
  const AVRational rate = av_guess_frame_rate(container_.get(), stream_, nullptr);
  if (rate.num > 0 && rate.den > 0) info_.fps = from_av(rate);
  info_.frames = stream_->nb_frames;
  if (stream_->duration > 0) {
    info_.seconds = static_cast<double>(stream_->duration) * av_q2d(stream_->time_base);
  } else if (container_->duration > 0) {
    info_.seconds = static_cast<double>(container_->duration) / AV_TIME_BASE;
  }
  if (stream_->start_time != AV_NOPTS_VALUE) {
    info_.start_seconds = static_cast<double>(stream_->start_time) * av_q2d(stream_->time_base);
  }
  info_.container = container_->iformat->name;
  info_.codec = avcodec_get_name(parameters->codec_id);
  info_.pix_fmt = or_unknown(av_get_pix_fmt_name(static_cast<AVPixelFormat>(parameters->format)));
  info_.matrix = or_unknown(av_color_space_name(parameters->color_space));
  info_.range = or_unknown(av_color_range_name(parameters->color_range));
  info_.primaries = or_unknown(av_color_primaries_name(parameters->color_primaries));
  info_.transfer = or_unknown(av_color_transfer_name(parameters->color_trc));
  // y4m has no field for the matrix; ours is BT.709 at any size.
  converter_.emplace(info_.rotation, is_y4m ? AVCOL_SPC_BT709 : AVCOL_SPC_UNSPECIFIED);
}

void FileReader::check_size(int64_t width, int64_t height) const {
  if (width > 0 && height > 0 && width <= limits_.max_side && height <= limits_.max_side &&
      width * height <= limits_.max_pixels) {
    return;
  }
  bad_input(where_, "wanted a picture size of 1 to " + std::to_string(limits_.max_side) + " a side, got " +
                        std::to_string(width) + "x" + std::to_string(height));
}

bool FileReader::decode_next() {
  while (true) {
    const int code = avcodec_receive_frame(decoder_.get(), frame_.get());
    if (code >= 0) return true;
    if (code == AVERROR_EOF) return false;
    const std::string at = where_ + ": frame " + std::to_string(frames_);
    if (code != AVERROR(EAGAIN)) bad_input(at, "can't be decoded: " + av_words(code));
    const int read = draining_ ? AVERROR_EOF : av_read_frame(container_.get(), packet_.get());
    if (read == AVERROR_EOF) {
      draining_ = true;
      av_check(avcodec_send_packet(decoder_.get(), nullptr), "avcodec_send_packet", at, ErrorCode::bad_input);
      continue;
    }
    if (read < 0) bad_input(at, "can't be read: " + av_words(read));
    const int sent = packet_->stream_index == stream_->index ? avcodec_send_packet(decoder_.get(), packet_.get()) : 0;
    av_packet_unref(packet_.get());
    if (sent < 0) bad_input(at, "can't be decoded: " + av_words(sent), "the file may be damaged or cut off");
  }
}

bool FileReader::next(std::vector<uint8_t>& rgb) {
  if (limits_.max_frames > 0 && frames_ >= limits_.max_frames) return false;
  if (!decode_next()) {
    if (frames_ == 0) bad_input(where_, "wanted at least one frame, got none");
    return false;
  }
  check_size(frame_->width, frame_->height);
  const bool is_turned = info_.rotation % 180 != 0;
  const int64_t width = is_turned ? frame_->height : frame_->width, height = is_turned ? frame_->width : frame_->height;
  if (frames_ == 0) {
    info_.width = width;
    info_.height = height;
  } else if (width != info_.width || height != info_.height) {
    bad_input(where_ + ": frame " + std::to_string(frames_),
              "wanted " + std::to_string(info_.width) + "x" + std::to_string(info_.height) + " like the first, got " +
                  std::to_string(width) + "x" + std::to_string(height));
  }
  converter_->convert(frame_.get(), rgb, where_);
  av_frame_unref(frame_.get());
  ++frames_;
  return true;
}

/// f%04d.png: from the lowest number present on, without gaps.
class SequenceReader final : public VideoReader {
 public:
  SequenceReader(FramePattern pattern, const fs::path& path, const VideoLimits& limits)
      : pattern_(std::move(pattern)), limits_(limits) {
    const fs::path folder = pattern_.folder().empty() ? fs::path(".") : pattern_.folder();
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      if (const auto index = pattern_.index_of(it->path().filename().string())) indices_.push_back(*index);
    }
    if (indices_.empty()) bad_input(path.string(), "wanted numbered pictures, got no file of that pattern");
    std::sort(indices_.begin(), indices_.end());
    for (size_t i = 1; i < indices_.size(); ++i) {
      if (indices_[i] != indices_[i - 1] + 1) {
        bad_input(pattern_.file(indices_[i - 1] + 1).string(), "missing: wanted a sequence without gaps",
                  "the pattern has files numbered " + std::to_string(indices_.front()) + " to " +
                      std::to_string(indices_.back()));
      }
    }
    info_ = FileReader(pattern_.file(indices_.front()), limits_).info();
    info_.fps = {1, 1};
    info_.seconds = 0;
    info_.frames = static_cast<int64_t>(indices_.size());
  }
  const VideoInfo& info() const override { return info_; }
  bool next(std::vector<uint8_t>& rgb) override {
    if (next_ == indices_.size()) return false;
    if (limits_.max_frames > 0 && next_ >= static_cast<size_t>(limits_.max_frames)) return false;
    const fs::path file = pattern_.file(indices_[next_++]);
    FileReader reader(file, limits_);
    reader.next(rgb);
    if (reader.info().width != info_.width || reader.info().height != info_.height) {
      bad_input(file.string(), "wanted " + std::to_string(info_.width) + "x" + std::to_string(info_.height) +
                                   " like the first, got " + std::to_string(reader.info().width) + "x" +
                                   std::to_string(reader.info().height));
    }
    return true;
  }

 private:
  FramePattern pattern_;
  VideoLimits limits_;
  std::vector<int64_t> indices_;
  size_t next_ = 0;
  VideoInfo info_;
};

}  // namespace

std::unique_ptr<VideoReader> open_video(const fs::path& path, const VideoLimits& limits) {
  std::error_code error;
  if (!fs::exists(path, error) && path.filename().string().find('%') != std::string::npos) {
    if (auto pattern = FramePattern::parse(path)) {
      return std::make_unique<SequenceReader>(std::move(*pattern), path, limits);
    }
  }
  if (auto animation = open_webp_animation(path, limits)) return animation;
  return std::make_unique<FileReader>(path, limits);
}

}  // namespace t2v::media
