// SPDX-License-Identifier: Apache-2.0
#include "commands/bench_frames.hpp"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "core/text.hpp"
#include "io/image.hpp"
#include "media/color.hpp"
#include "media/encoder_list.hpp"
#include "t2v/error.hpp"
#include "t2v/frame_sink.hpp"

namespace t2v::commands {

namespace fs = std::filesystem;

namespace {

/// A folder of our own that goes away with everything in it.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::error_code problem;
    std::string name = (fs::temp_directory_path(problem) / "t2v-XXXXXX").string();
    if (problem || !mkdtemp(name.data())) {
      throw Error(ErrorCode::output, "temporary folder: wanted one that can be written, got none", "set TMPDIR");
    }
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// A moving gradient with some texture: neither trivial nor noise for an encoder.
void draw(std::vector<uint8_t>& rgb, int64_t width, int64_t height, int64_t frame) {
  size_t at = 0;
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      rgb[at++] = static_cast<uint8_t>(x + 3 * frame);
      rgb[at++] = static_cast<uint8_t>(y + 2 * frame);
      rgb[at++] = static_cast<uint8_t>((x * y >> 5) + frame);
    }
  }
}

void write_clip(FrameSink& sink, int64_t width, int64_t height, int64_t frames) {
  std::vector<uint8_t> rgb(static_cast<size_t>(width * height * 3));
  for (int64_t i = 0; i < frames; ++i) {
    draw(rgb, width, height, i);
    sink.write({.width = width, .height = height, .rgb = rgb});
  }
  sink.finish();
}

VideoSpec spec_of(int64_t width, int64_t height, Rational fps) {
  VideoSpec spec;
  spec.width = width;
  spec.height = height;
  spec.fps = fps;
  spec.overwrite = true;
  return spec;
}

}  // namespace

std::vector<double> encode_seconds(int64_t width, int64_t height) {
  constexpr int kPasses = 3;
  constexpr int64_t kFrames = 48;
  const ScratchFolder folder;
  std::vector<double> seconds;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    const auto sink = open_sink(folder.path() / "bench.mp4", spec_of(width, height, {24, 1}));
    write_clip(*sink, width, height, kFrames);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / kFrames);
  }
  return seconds;
}

std::vector<double> convert_seconds(int64_t width, int64_t height) {
  constexpr int kPasses = 3;
  constexpr int kFrames = 16;
  const int64_t w = width / 2 * 2, h = height / 2 * 2;
  std::vector<uint8_t> rgb(static_cast<size_t>(w * h * 3)), planes(static_cast<size_t>(w * h * 3 / 2));
  draw(rgb, w, h, 0);
  uint8_t* y = planes.data();
  const media::YuvPlanes out{y, y + w * h, y + w * h * 5 / 4, w, w / 2};
  std::vector<double> seconds;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kFrames; ++i) media::rgb_to_yuv420_bt709(rgb.data(), w, h, out);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / kFrames);
  }
  return seconds;
}

void write_scratch_clip(int64_t width, int64_t height, Rational fps, const std::function<void(FrameSink&)>& write) {
  const ScratchFolder folder;
  const auto sink = open_sink(folder.path() / "bench.mp4", spec_of(width, height, fps));
  write(*sink);
  sink->finish();
}

std::shared_ptr<const fs::path> scratch_picture(int64_t width, int64_t height) {
  struct Picture {
    ScratchFolder folder;
    fs::path file = folder.path() / "bench.png";
  };
  io::Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3))};
  draw(image.rgb, width, height, 0);
  const auto picture = std::make_shared<const Picture>();
  io::save_png(picture->file, image);
  return {picture, &picture->file};
}

std::string test_encode(const std::string& format) {
  constexpr int64_t kSide = 64;
  constexpr int64_t kFrames = 8;
  const ScratchFolder folder;
  const fs::path file = folder.path() / ("doctor." + format);
  const auto sink = open_sink(file, spec_of(kSide, kSide, {8, 1}));
  write_clip(*sink, kSide, kSide, kFrames);
  return media::encoder_of(file) + ", " + std::to_string(kFrames) + " frames of 64x64, " +
         human_bytes(static_cast<int64_t>(fs::file_size(file)));
}

}  // namespace t2v::commands
