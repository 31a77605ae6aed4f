// SPDX-License-Identifier: Apache-2.0
// PNG files: one file a frame for f%04d.png (numbered from 0), a single picture for a plain name,
// or one PNG after another on standard output.
#include <optional>

#include "core/log.hpp"
#include "media/output_file.hpp"
#include "media/png_file.hpp"
#include "media/sink_openers.hpp"

namespace t2v::media {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void throw_single_picture(const fs::path& path) {
  const std::string name = path.stem().string() + "%04d" + path.extension().string();
  throw Error(ErrorCode::usage, "--output: " + path.string() + ": wanted one frame for one PNG file, got several",
              "use " + (path.parent_path() / name).string() + " for one file a frame");
}

/// One file or a stream.
class SinglePngSink final : public FrameSink {
 public:
  SinglePngSink(const fs::path& path, const VideoSpec& spec)
      : path_(path), encoder_(spec.width, spec.height, spec.metadata), file_(path, spec.overwrite) {
    if (file_.seekable() && spec.frames > 1) throw_single_picture(path);
  }
  void write(const FrameView& frame) override {
    if (file_.seekable() && frames_ > 0) throw_single_picture(path_);
    file_.write(encoder_.encode(frame));
    ++frames_;
  }
  void finish() override {
    if (frames_ == 0) throw_no_frames(file_.where());
    file_.commit();
  }

 private:
  fs::path path_;
  PngEncoder encoder_;
  OutputFile file_;
  int64_t frames_ = 0;
};

/// Every file appears whole, as soon as its frame is done. The temporary file of the next frame is
/// always open already, so that a folder that can't be written to is refused before the first frame
/// is made.
class PngSequenceSink final : public FrameSink {
 public:
  PngSequenceSink(FramePattern pattern, const VideoSpec& spec)
      : pattern_(std::move(pattern)),
        overwrite_(spec.overwrite),
        expected_(spec.frames),
        encoder_(spec.width, spec.height, spec.metadata) {
    check_existing();
    open_next();
  }
  void write(const FrameView& frame) override {
    if (!file_) open_next();
    file_->write(encoder_.encode(frame));
    file_->commit();
    file_.reset();
    if (++frames_ != expected_) open_next();
  }
  void finish() override {
    const std::string where = pattern_.file(0).string();
    file_.reset();
    if (frames_ == 0) throw_no_frames(where);
  }

 private:
  void open_next() { file_.emplace(pattern_.file(frames_), overwrite_); }

  void check_existing() const {
    const fs::path folder = pattern_.folder().empty() ? fs::path(".") : pattern_.folder();
    std::error_code error;
    int64_t leftovers = 0;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      const auto index = pattern_.index_of(it->path().filename().string());
      if (!index) continue;
      if (!overwrite_) {
        throw Error(ErrorCode::output,
                    "can't write: " + it->path().string() + ": wanted a new sequence, got a file of one",
                    "pass --overwrite to replace the files, or use another name");
      }
      if (expected_ > 0 && *index >= expected_) ++leftovers;
    }
    if (leftovers > 0) {
      log::warn("{}: {} files of an older, longer sequence stay behind the new one", folder.string(), leftovers);
    }
  }

  FramePattern pattern_;
  bool overwrite_;
  int64_t expected_;
  PngEncoder encoder_;
  std::optional<OutputFile> file_;
  int64_t frames_ = 0;
};

}  // namespace

std::unique_ptr<FrameSink> open_png_sink(const fs::path& path, const VideoSpec& spec) {
  refuse_encoder_settings(spec, "rgb24");
  checked_fps(spec.fps);
  if (path != "-") {
    if (auto pattern = FramePattern::parse(path)) return std::make_unique<PngSequenceSink>(std::move(*pattern), spec);
  }
  return std::make_unique<SinglePngSink>(path, spec);
}

}  // namespace t2v::media
