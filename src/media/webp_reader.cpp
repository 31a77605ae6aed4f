// SPDX-License-Identifier: Apache-2.0
#include "media/webp_reader.hpp"

#include <cstring>

#include "io/mmap_file.hpp"
#include "media/av.hpp"
#include "media/to_rgb.hpp"
#include "media/webp_file.hpp"

namespace t2v::media {

namespace {

class WebpAnimationReader final : public VideoReader {
 public:
  WebpAnimationReader(std::shared_ptr<const io::MmapFile> file, WebpAnimation animation, const VideoLimits& limits)
      : file_(std::move(file)), animation_(std::move(animation)), limits_(limits) {
    quiet_libav();
    check();
    const AVCodec* codec = avcodec_find_decoder(AV_CODEC_ID_WEBP);
    if (!codec) throw Error(ErrorCode::unsupported, file_->path() + ": this FFmpeg has no WebP decoder");
    decoder_.reset(avcodec_alloc_context3(codec));
    if (!decoder_) throw Error(ErrorCode::no_resource, file_->path() + ": out of memory");
    decoder_->max_pixels = limits.max_pixels;
    av_check(avcodec_open2(decoder_.get(), codec, nullptr), "avcodec_open2", file_->path(), ErrorCode::bad_input);
    info_.width = animation_.width;
    info_.height = animation_.height;
    info_.frames = static_cast<int64_t>(animation_.frames.size());
    info_.container = "webp";
    info_.codec = "webp";
    info_.pix_fmt = "yuv420p";
    info_.matrix = info_.range = info_.primaries = info_.transfer = "unknown";
    int64_t total_ms = 0;
    for (const WebpFrame& frame : animation_.frames) total_ms += frame.duration_ms;
    info_.seconds = static_cast<double>(total_ms) / 1000;
    if (total_ms > 0) info_.fps = {info_.frames * 1000, total_ms};
  }

  const VideoInfo& info() const override { return info_; }

  bool next(std::vector<uint8_t>& rgb) override {
    if (next_ == animation_.frames.size()) return false;
    if (limits_.max_frames > 0 && next_ >= static_cast<size_t>(limits_.max_frames)) return false;
    const std::string at = file_->path() + ": frame " + std::to_string(next_);
    const std::vector<uint8_t> webp = standalone_webp(animation_.frames[next_++]);
    UniquePacket packet = make_packet();
    av_check(av_new_packet(packet.get(), static_cast<int>(webp.size())), "av_new_packet", at, ErrorCode::no_resource);
    std::memcpy(packet->data, webp.data(), webp.size());
    av_check(avcodec_send_packet(decoder_.get(), packet.get()), "avcodec_send_packet", at, ErrorCode::bad_input);
    av_check(avcodec_receive_frame(decoder_.get(), frame_.get()), "avcodec_receive_frame", at, ErrorCode::bad_input);
    if (frame_->width != info_.width || frame_->height != info_.height) {
      throw Error(ErrorCode::bad_input, at + ": wanted a picture of the canvas' size, got " +
                                            std::to_string(frame_->width) + "x" + std::to_string(frame_->height));
    }
    converter_.convert(frame_.get(), rgb, at);
    return true;
  }

 private:
  void check() const {
    const int64_t width = animation_.width, height = animation_.height;
    if (width < 1 || height < 1 || width > limits_.max_side || height > limits_.max_side ||
        width * height > limits_.max_pixels) {
      throw Error(ErrorCode::bad_input, file_->path() + ": wanted a picture size of 1 to " +
                                            std::to_string(limits_.max_side) + " a side, got " + std::to_string(width) +
                                            "x" + std::to_string(height));
    }
    for (const WebpFrame& frame : animation_.frames) {
      if (frame.x == 0 && frame.y == 0 && frame.width == animation_.width && frame.height == animation_.height)
        continue;
      throw Error(ErrorCode::unsupported,
                  file_->path() + ": animated WebP whose frames cover a part of the canvas only",
                  "convert it to another format first");
    }
  }

  std::shared_ptr<const io::MmapFile> file_;  // shared only because MmapFile::open() gives it so
  WebpAnimation animation_;                   // its spans point into file_
  VideoLimits limits_;
  VideoInfo info_;
  UniqueCodecContext decoder_;
  UniqueFrame frame_ = make_frame();
  RgbConverter converter_{0, AVCOL_SPC_SMPTE170M};  // WebP is BT.601 by definition
  size_t next_ = 0;
};

}  // namespace

std::unique_ptr<VideoReader> open_webp_animation(const std::filesystem::path& path, const VideoLimits& limits) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return nullptr;
  auto file = io::MmapFile::open(path);
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(file->bytes().data()), file->bytes().size());
  auto animation = parse_webp_animation(bytes);
  if (!animation) return nullptr;
  return std::make_unique<WebpAnimationReader>(std::move(file), std::move(*animation), limits);
}

}  // namespace t2v::media
