// SPDX-License-Identifier: Apache-2.0
// Clips, folders and checks that the tests of src/media share.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "media/video_reader.hpp"
#include "t2v/error.hpp"
#include "t2v/frame_sink.hpp"

namespace t2v::media::test {

namespace fs = std::filesystem;

/// A folder that is empty at the start and gone at the end.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (fs::temp_directory_path() / "t2v-media-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& entry : fs::directory_iterator(path_)) all.push_back(entry.path().filename().string());
    return all;
  }

 private:
  fs::path path_;
};

struct Picture {
  int64_t width, height;
  std::vector<uint8_t> rgb;
  FrameView view() const { return {.width = width, .height = height, .rgb = rgb}; }
};

/// Smooth colours that move with the index: a codec keeps them well, and neighbouring frames
/// differ.
inline Picture gradient(int64_t width, int64_t height, int64_t index) {
  Picture picture{width, height, std::vector<uint8_t>(static_cast<size_t>(3 * width * height))};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      uint8_t* p = &picture.rgb[static_cast<size_t>(3 * (y * width + x))];
      p[0] = static_cast<uint8_t>(20 + 200 * x / width);
      p[1] = static_cast<uint8_t>(30 + 190 * y / height);
      p[2] = static_cast<uint8_t>(40 + (2 * index) % 160);
    }
  }
  return picture;
}

inline VideoSpec spec_of(int64_t width, int64_t height, Rational fps = {8, 1}) {
  VideoSpec spec;
  spec.width = width;
  spec.height = height;
  spec.fps = fps;
  return spec;
}

inline void write_clip(const fs::path& path, const VideoSpec& spec, int64_t frames) {
  auto sink = open_sink(path, spec);
  for (int64_t i = 0; i < frames; ++i) sink->write(gradient(spec.width, spec.height, i).view());
  sink->finish();
}

inline std::vector<uint8_t> read_bytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Runs `action`, which must throw an Error of this code; returns its message and hint.
inline std::string error_of(ErrorCode code, const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(exit_code(error.code()), exit_code(code)) << error.what();
    return std::string(error.what()) + " | " + error.hint();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace t2v::media::test
