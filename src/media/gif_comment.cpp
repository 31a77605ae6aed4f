// SPDX-License-Identifier: Apache-2.0
#include "media/gif_comment.hpp"

#include <algorithm>
#include <cstring>

namespace t2v::media {

namespace {

constexpr size_t kScreenBytes = 13;  // signature and logical screen descriptor
constexpr size_t kLoopBytes = 19;    // NETSCAPE2.0 extension
constexpr uint8_t kExtension = 0x21, kImage = 0x2C, kComment = 0xFE, kApplication = 0xFF;

size_t palette_bytes(uint8_t packed) { return packed & 0x80 ? size_t{3} << ((packed & 7) + 1) : 0; }

std::vector<uint8_t> comment_block(const std::string& comment) {
  std::vector<uint8_t> block;
  block.reserve(comment.size() + comment.size() / 255 + 4);
  block.push_back(kExtension);
  block.push_back(kComment);
  for (size_t at = 0; at < comment.size(); at += 255) {
    const size_t count = std::min<size_t>(255, comment.size() - at);
    block.push_back(static_cast<uint8_t>(count));
    block.insert(block.end(), comment.begin() + static_cast<ptrdiff_t>(at),
                 comment.begin() + static_cast<ptrdiff_t>(at + count));
  }
  block.push_back(0);
  return block;
}

/// Walks a GIF's sub-blocks from `at`; returns the position behind them, or npos. Collects their
/// bytes in `out`.
size_t read_sub_blocks(std::span<const uint8_t> file, size_t at, std::string* out) {
  while (at < file.size()) {
    const size_t count = file[at++];
    if (count == 0) return at;
    if (count > file.size() - at) break;
    if (out) out->append(reinterpret_cast<const char*>(file.data() + at), count);
    at += count;
  }
  return std::string::npos;
}

}  // namespace

int GifCommentWriter::try_write(std::span<const uint8_t> bytes) {
  if (done_ || comment_.empty()) return file_->try_write(bytes);
  head_.insert(head_.end(), bytes.begin(), bytes.end());
  if (head_.size() < kScreenBytes) return static_cast<int>(bytes.size());
  size_t at = kScreenBytes + palette_bytes(head_[10]);
  if (head_.size() < at + kLoopBytes) return static_cast<int>(bytes.size());
  if (head_[at] == kExtension && head_[at + 1] == kApplication) at += kLoopBytes;
  const std::vector<uint8_t> block = comment_block(comment_);
  head_.insert(head_.begin() + static_cast<ptrdiff_t>(at), block.begin(), block.end());
  done_ = true;
  const int code = file_->try_write(head_);
  head_ = {};
  return code < 0 ? code : static_cast<int>(bytes.size());
}

std::optional<std::string> read_gif_comment(std::span<const uint8_t> file) {
  if (file.size() < kScreenBytes || std::memcmp(file.data(), "GIF8", 4) != 0) return std::nullopt;
  size_t at = kScreenBytes + palette_bytes(file[10]);
  while (at + 2 <= file.size()) {
    if (file[at] == kExtension) {
      std::string text;
      const bool is_comment = file[at + 1] == kComment;
      at = read_sub_blocks(file, at + 2, is_comment ? &text : nullptr);
      if (at == std::string::npos) return std::nullopt;
      if (is_comment) return text;
    } else if (file[at] == kImage && at + 11 <= file.size()) {
      at += 10 + palette_bytes(file[at + 9]) + 1;  // descriptor, local palette, LZW code size
      at = at < file.size() ? read_sub_blocks(file, at, nullptr) : std::string::npos;
      if (at == std::string::npos) return std::nullopt;
    } else {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

}  // namespace t2v::media
