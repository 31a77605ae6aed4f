// SPDX-License-Identifier: Apache-2.0
// GIF's comment extension (GIF89a, 24): libavformat writes none, so it is put into the muxer's byte
// stream, after the header, the global palette and the loop extension, where readers look before
// the first picture.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "media/output_file.hpp"

namespace t2v::media {

class GifCommentWriter {
 public:
  GifCommentWriter(OutputFile& file, std::string comment) : file_(&file), comment_(std::move(comment)) {}
  /// The muxer's bytes, in order. Returns their count or -errno.
  int try_write(std::span<const uint8_t> bytes);

 private:
  OutputFile* file_;
  std::string comment_;
  std::vector<uint8_t> head_;
  bool done_ = false;
};

/// The first comment of a GIF file's blocks; absent when there is none or the bytes are not a GIF.
std::optional<std::string> read_gif_comment(std::span<const uint8_t> file);

}  // namespace t2v::media
