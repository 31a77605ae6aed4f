// SPDX-License-Identifier: Apache-2.0
#include "media/webp_file.hpp"

#include <cstring>
#include <string_view>
#include <utility>

namespace t2v::media {

namespace {

uint32_t read_le(const uint8_t* bytes, int count) {
  uint32_t value = 0;
  for (int i = 0; i < count; ++i) value |= static_cast<uint32_t>(bytes[i]) << (8 * i);
  return value;
}

constexpr size_t kFrameHeaderBytes = 16;  // of an ANMF chunk
constexpr std::string_view kOpenTag = "<rdf:li xml:lang=\"x-default\">", kCloseTag = "</rdf:li>";

constexpr std::pair<std::string_view, char> kEntities[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}};

}  // namespace

std::vector<RiffChunk> riff_chunks(std::span<const uint8_t> bytes) {
  std::vector<RiffChunk> chunks;
  while (bytes.size() >= 8) {
    RiffChunk chunk;
    std::memcpy(chunk.name, bytes.data(), 4);
    const size_t size = read_le(bytes.data() + 4, 4);
    if (size > bytes.size() - 8) break;
    chunk.data = bytes.subspan(8, size);
    chunks.push_back(chunk);
    bytes = bytes.subspan(std::min(bytes.size(), 8 + size + (size & 1)));
  }
  return chunks;
}

bool is_webp(std::span<const uint8_t> file) {
  return file.size() >= kRiffHeaderBytes && std::memcmp(file.data(), "RIFF", 4) == 0 &&
         std::memcmp(file.data() + 8, "WEBP", 4) == 0;
}

void append_le(std::vector<uint8_t>& out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void append_chunk(std::vector<uint8_t>& out, const char* name, std::span<const uint8_t> data) {
  out.insert(out.end(), name, name + 4);
  append_le(out, static_cast<uint32_t>(data.size()), 4);
  out.insert(out.end(), data.begin(), data.end());
  if (data.size() & 1) out.push_back(0);
}

std::optional<WebpAnimation> parse_webp_animation(std::span<const uint8_t> file) {
  if (!is_webp(file)) return std::nullopt;
  WebpAnimation animation;
  for (const RiffChunk& chunk : riff_chunks(file.subspan(kRiffHeaderBytes))) {
    const std::string_view name(chunk.name, 4);
    const uint8_t* d = chunk.data.data();
    if (name == "VP8X" && chunk.data.size() >= 10) {
      animation.width = read_le(d + 4, 3) + 1;
      animation.height = read_le(d + 7, 3) + 1;
    } else if (name == "ANMF" && chunk.data.size() > kFrameHeaderBytes) {
      animation.frames.push_back({.x = read_le(d, 3) * 2,
                                  .y = read_le(d + 3, 3) * 2,
                                  .width = read_le(d + 6, 3) + 1,
                                  .height = read_le(d + 9, 3) + 1,
                                  .duration_ms = read_le(d + 12, 3),
                                  .payload = chunk.data.subspan(kFrameHeaderBytes)});
    }
  }
  if (animation.frames.empty()) return std::nullopt;
  return animation;
}

std::vector<uint8_t> standalone_webp(const WebpFrame& frame) {
  std::vector<uint8_t> body;
  bool has_alpha = false;
  for (const RiffChunk& chunk : riff_chunks(frame.payload)) has_alpha |= std::string_view(chunk.name, 4) == "ALPH";
  if (has_alpha) {  // a lossy picture with alpha needs the extended header
    std::vector<uint8_t> header{0x10, 0, 0, 0};
    append_le(header, frame.width - 1, 3);
    append_le(header, frame.height - 1, 3);
    append_chunk(body, "VP8X", header);
  }
  body.insert(body.end(), frame.payload.begin(), frame.payload.end());
  std::vector<uint8_t> file{'R', 'I', 'F', 'F'};
  append_le(file, static_cast<uint32_t>(body.size() + 4), 4);
  for (const char c : {'W', 'E', 'B', 'P'}) file.push_back(static_cast<uint8_t>(c));
  file.insert(file.end(), body.begin(), body.end());
  return file;
}

std::string make_xmp(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    bool found = false;
    for (const auto& [entity, plain] : kEntities) {
      if (c == plain) {
        escaped += entity;
        found = true;
      }
    }
    if (!found) escaped += c;
  }
  return "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF "
         "xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">"
         "<rdf:Description rdf:about=\"\" "
         "xmlns:dc=\"http://purl.org/dc/elements/1.1/\"><dc:description><rdf:Alt>" +
         std::string(kOpenTag) + escaped + std::string(kCloseTag) +
         "</rdf:Alt></dc:description></rdf:Description></rdf:RDF></x:xmpmeta>";
}

std::optional<std::string> description_of_xmp(std::string_view xmp) {
  const size_t description = xmp.find("<dc:description>");
  if (description == std::string_view::npos) return std::nullopt;
  const size_t open = xmp.find(kOpenTag, description);
  const size_t close = xmp.find(kCloseTag, description);
  if (open == std::string_view::npos || close == std::string_view::npos || close < open + kOpenTag.size()) {
    return std::nullopt;
  }
  std::string_view rest = xmp.substr(open + kOpenTag.size(), close - open - kOpenTag.size());
  std::string text;
  while (!rest.empty()) {
    bool found = false;
    for (const auto& [entity, plain] : kEntities) {
      if (!found && rest.starts_with(entity)) {
        text += plain;
        rest.remove_prefix(entity.size());
        found = true;
      }
    }
    if (found) continue;
    text += rest.front();
    rest.remove_prefix(1);
  }
  return text;
}

}  // namespace t2v::media
