// SPDX-License-Identifier: Apache-2.0
#include "media/png_file.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "core/check.hpp"
#include "core/text.hpp"

extern "C" {
#include <libavutil/crc.h>
}

namespace t2v::media {

namespace {

constexpr size_t kSignatureBytes = 8;
constexpr size_t kHeaderChunkBytes = 4 + 4 + 13 + 4;  // length, "IHDR", fields, CRC
constexpr int kMaxDigits = 18;

void append_be32(std::vector<uint8_t>& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(value >> shift));
}

/// A tEXt chunk (PNG 1.2, 11.3.4.3) with the keyword "comment", the name the containers use.
std::vector<uint8_t> make_text_chunk(const std::string& metadata) {
  if (metadata.empty()) return {};
  std::string body = "tEXtcomment";
  body += '\0';
  body += ascii_json(metadata);
  std::vector<uint8_t> chunk;
  chunk.reserve(body.size() + 8);
  append_be32(chunk, static_cast<uint32_t>(body.size() - 4));
  chunk.insert(chunk.end(), body.begin(), body.end());
  const uint32_t crc = ~av_crc(av_crc_get_table(AV_CRC_32_IEEE_LE), ~0U, chunk.data() + 4, body.size());
  append_be32(chunk, crc);
  return chunk;
}

[[noreturn]] void bad_pattern(const std::filesystem::path& path) {
  throw Error(ErrorCode::usage,
              path.string() + ": wanted one integer field such as %04d in the file name, got '" +
                  path.filename().string() + "'",
              "write %% for a percent sign");
}

}  // namespace

std::optional<FramePattern> FramePattern::parse(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  if (name.find('%') == std::string::npos) return std::nullopt;
  FramePattern pattern;
  pattern.folder_ = path.parent_path();
  bool has_field = false;
  for (size_t i = 0; i < name.size(); ++i) {
    std::string& text = has_field ? pattern.suffix_ : pattern.prefix_;
    if (name[i] != '%') {
      text += name[i];
      continue;
    }
    if (++i < name.size() && name[i] == '%') {
      text += '%';
      continue;
    }
    if (has_field) bad_pattern(path);
    if (i < name.size() && name[i] == '0') {
      pattern.zero_padded_ = true;
      ++i;
    }
    const size_t digits = i;
    while (i < name.size() && name[i] >= '0' && name[i] <= '9') ++i;
    if (i >= name.size() || name[i] != 'd' || i - digits > 2) bad_pattern(path);
    if (i > digits) std::from_chars(name.data() + digits, name.data() + i, pattern.width_);
    if (pattern.width_ > kMaxDigits) bad_pattern(path);
    has_field = true;
  }
  if (!has_field) bad_pattern(path);
  return pattern;
}

std::filesystem::path FramePattern::file(int64_t index) const {
  std::string digits = std::to_string(index);
  const size_t width = static_cast<size_t>(width_);
  if (digits.size() < width) digits.insert(0, width - digits.size(), zero_padded_ ? '0' : ' ');
  return folder_ / (prefix_ + digits + suffix_);
}

std::optional<int64_t> FramePattern::index_of(std::string_view name) const {
  if (name.size() <= prefix_.size() + suffix_.size() || !name.starts_with(prefix_) || !name.ends_with(suffix_))
    return {};
  std::string_view digits = name.substr(prefix_.size(), name.size() - prefix_.size() - suffix_.size());
  while (!zero_padded_ && !digits.empty() && digits.front() == ' ') digits.remove_prefix(1);
  int64_t index = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (error != std::errc() || end != digits.data() + digits.size() || index < 0) return {};
  if (file(index).filename().string() != name) return {};  // another padding
  return index;
}

std::string ascii_json(std::string_view json) {
  const std::string text = replace_invalid_utf8(json);
  std::string out;
  out.reserve(text.size());
  const auto escape = [&](uint32_t unit) {
    char buffer[8];
    std::snprintf(buffer, sizeof buffer, "\\u%04x", unit);
    out += buffer;
  };
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      out += text[i++];
      continue;
    }
    const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;  // well formed: replaced above
    uint32_t code = lead & (0x3FU >> more);
    for (int k = 1; k <= more; ++k)
      code = code << 6 | (static_cast<unsigned char>(text[i + static_cast<size_t>(k)]) & 0x3FU);
    i += static_cast<size_t>(more) + 1;
    if (code < 0x10000) {
      escape(code);
    } else {
      escape(0xD800 + ((code - 0x10000) >> 10));
      escape(0xDC00 + ((code - 0x10000) & 0x3FF));
    }
  }
  return out;
}

PngEncoder::PngEncoder(int64_t width, int64_t height, const std::string& metadata)
    : encoder_(EncoderRequest{.width = width,
                              .height = height,
                              .fps = {1, 1},
                              .codecs = {"png"},
                              .pix_fmt = "rgb24",
                              .preset = {},
                              .crf = -1,
                              .global_header = false,
                              .threads = 1,        // with more, libav's PNG encoder holds frames back
                              .is_tagged = false,  // a gAMA chunk of video's transfer curve would darken the picture
                              .options = {{"pred", "mixed"}}}),
      text_chunk_(make_text_chunk(metadata)) {}

const std::vector<uint8_t>& PngEncoder::encode(const FrameView& frame) {
  file_.clear();
  encoder_.encode(frame, "PNG", [&](AVPacket* packet) {
    T2V_CHECK(static_cast<size_t>(packet->size) > kSignatureBytes + kHeaderChunkBytes, "a PNG begins with IHDR");
    const std::span<const uint8_t> png(packet->data, static_cast<size_t>(packet->size));
    const auto body = png.begin() + kSignatureBytes + kHeaderChunkBytes;
    file_.assign(png.begin(), body);
    file_.insert(file_.end(), text_chunk_.begin(), text_chunk_.end());
    file_.insert(file_.end(), body, png.end());
  });
  T2V_CHECK(!file_.empty(), "the PNG encoder has no delay");
  return file_;
}

}  // namespace t2v::media
