// SPDX-License-Identifier: Apache-2.0
// Animated WebP: every frame is a whole lossy picture (libwebp), written as it comes, so memory
// does not grow with the clip. The settings go into an XMP chunk at the end.
#include <optional>

#include "core/check.hpp"
#include "media/encoder.hpp"
#include "media/output_file.hpp"
#include "media/sink_openers.hpp"
#include "media/webp_file.hpp"

namespace t2v::media {

namespace {

constexpr uint8_t kHasXmp = 0x04, kIsAnimation = 0x02;  // flags of VP8X
constexpr int64_t kMaxRiffBytes = 0xFFFFFFFE;
constexpr const char* kQuality = "90";

class WebpSink final : public FrameSink {
 public:
  WebpSink(const std::filesystem::path& path, const VideoSpec& spec)
      : width_(spec.width),
        height_(spec.height),
        metadata_(spec.metadata),
        fps_(checked_fps(spec.fps)),
        encoder_(request(spec)) {
    refuse_encoder_settings(spec, "bgra");
    file_.emplace(path, spec.overwrite);
    if (!file_->seekable()) {
      throw Error(ErrorCode::usage,
                  "--format: webp: wanted a file, got a pipe: its header holds the length of the whole",
                  "choose gif, mkv or y4m for a pipe");
    }
  }

  void write(const FrameView& frame) override {
    encoder_.encode(frame, file_->where(), [&](AVPacket* packet) { take_picture(packet); });
  }

  void finish() override {
    encoder_.drain(file_->where(), [&](AVPacket* packet) { take_picture(packet); });
    if (frames_ == 0) throw_no_frames(file_->where());
    if (frames_ == 1) {
      write_header(false);
      write_bytes(picture_);
    } else {
      write_picture();
    }
    if (!metadata_.empty()) {
      const std::string xmp = make_xmp(metadata_);
      chunk_.clear();
      append_chunk(chunk_, "XMP ", std::span(reinterpret_cast<const uint8_t*>(xmp.data()), xmp.size()));
      write_bytes(chunk_);
    }
    chunk_.clear();
    append_le(chunk_, static_cast<uint32_t>(written_ - 8), 4);
    if (file_->try_seek(4, SEEK_SET) < 0) file_->rethrow();
    file_->write(chunk_);
    file_->commit();
  }

 private:
  static EncoderRequest request(const VideoSpec& spec) {
    EncoderRequest request;
    request.width = spec.width;
    request.height = spec.height;
    request.fps = checked_fps(spec.fps);
    request.codecs = {"libwebp"};
    request.pix_fmt = "bgra";
    request.is_tagged = false;
    request.options = {{"quality", kQuality}};
    return request;
  }

  int64_t start_ms(int64_t frame) const { return av_rescale(frame, 1000 * fps_.den, fps_.num); }

  /// A new picture has come: the one before it is now known not to be the last.
  void take_picture(const AVPacket* packet) {
    const std::span<const uint8_t> webp(packet->data, static_cast<size_t>(packet->size));
    T2V_CHECK(is_webp(webp), "libwebp gives whole files");
    if (frames_ == 1) write_header(true);
    if (frames_ >= 1) write_picture();
    picture_.clear();
    for (const RiffChunk& chunk : riff_chunks(webp.subspan(kRiffHeaderBytes))) {
      const std::string_view name(chunk.name, 4);
      if (name == "VP8 " || name == "VP8L") append_chunk(picture_, chunk.name, chunk.data);
    }
    ++frames_;
  }

  void write_header(bool is_animation) {
    chunk_.assign({'R', 'I', 'F', 'F', 0, 0, 0, 0, 'W', 'E', 'B', 'P'});
    std::vector<uint8_t> header{
        static_cast<uint8_t>((is_animation ? kIsAnimation : 0) | (metadata_.empty() ? 0 : kHasXmp)), 0, 0, 0};
    append_le(header, static_cast<uint32_t>(width_ - 1), 3);
    append_le(header, static_cast<uint32_t>(height_ - 1), 3);
    append_chunk(chunk_, "VP8X", header);
    constexpr uint8_t kAnimation[] = {0, 0, 0, 255, 0, 0};  // background (opaque black), loop for ever
    if (is_animation) append_chunk(chunk_, "ANIM", kAnimation);
    write_bytes(chunk_);
  }

  /// The held picture as frame number pictures_written_.
  void write_picture() {
    constexpr uint8_t kDoNotBlend = 0x02;
    const int64_t duration = start_ms(pictures_written_ + 1) - start_ms(pictures_written_);
    ++pictures_written_;
    std::vector<uint8_t>& body = body_;
    body.clear();
    append_le(body, 0, 3);
    append_le(body, 0, 3);
    append_le(body, static_cast<uint32_t>(width_ - 1), 3);
    append_le(body, static_cast<uint32_t>(height_ - 1), 3);
    append_le(body, static_cast<uint32_t>(duration), 3);
    body.push_back(kDoNotBlend);
    body.insert(body.end(), picture_.begin(), picture_.end());
    chunk_.clear();
    append_chunk(chunk_, "ANMF", body);
    write_bytes(chunk_);
  }

  void write_bytes(std::span<const uint8_t> bytes) {
    written_ += static_cast<int64_t>(bytes.size());
    if (written_ > kMaxRiffBytes) {
      throw Error(ErrorCode::output, "can't write: " + file_->where() + ": wanted at most 4 GB, the limit of WebP",
                  "choose .mp4 or .webm");
    }
    file_->write(bytes);
  }

  int64_t width_, height_;
  std::string metadata_;
  Rational fps_;
  VideoEncoder encoder_;
  std::optional<OutputFile> file_;
  std::vector<uint8_t> picture_, body_, chunk_;  // reused
  int64_t frames_ = 0, pictures_written_ = 0, written_ = 0;
};

}  // namespace

std::unique_ptr<FrameSink> open_webp_sink(const std::filesystem::path& path, const VideoSpec& spec) {
  return std::make_unique<WebpSink>(path, spec);
}

}  // namespace t2v::media
