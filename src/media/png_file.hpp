// SPDX-License-Identifier: Apache-2.0
// PNG encoding of RGB frames with a text chunk, and the numbered names of image sequences.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "media/encoder.hpp"
#include "t2v/frame_sink.hpp"

namespace t2v::media {

/// `f%04d.png`: a file name with exactly one integer field (%d, %4d, %04d); %% is a percent sign.
class FramePattern {
 public:
  /// Absent: the file name holds no '%'. Throws Error{usage} for a '%' that is anything else.
  static std::optional<FramePattern> parse(const std::filesystem::path& path);
  std::filesystem::path file(int64_t index) const;
  /// The index that `name` (of a file in the same folder) was made from; absent when it is none of
  /// this pattern.
  std::optional<int64_t> index_of(std::string_view name) const;
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  std::string prefix_, suffix_;
  int width_ = 0;
  bool zero_padded_ = false;
};

/// JSON text with every character above U+007E written as \uXXXX: the same JSON, legal in a Latin-1
/// tEXt chunk.
std::string ascii_json(std::string_view json);

/// One PNG after another. Not thread-safe.
class PngEncoder {
 public:
  PngEncoder(int64_t width, int64_t height, const std::string& metadata);
  /// The bytes of a whole PNG file; valid until the next call.
  const std::vector<uint8_t>& encode(const FrameView& frame);

 private:
  VideoEncoder encoder_;
  std::vector<uint8_t> text_chunk_;
  std::vector<uint8_t> file_;
};

}  // namespace t2v::media
