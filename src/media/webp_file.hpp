// SPDX-License-Identifier: Apache-2.0
// The RIFF container of WebP (developers.google.com/speed/webp/docs/riff_container): what of it an
// animation needs. libavformat 5.1 can't read animations, and its writer keeps no metadata and not
// the last frame's duration.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace t2v::media {

struct RiffChunk {
  char name[5] = {};
  std::span<const uint8_t> data;
};

/// The chunks of a WebP file or of a frame's payload; stops at the first that does not fit.
std::vector<RiffChunk> riff_chunks(std::span<const uint8_t> bytes);
/// True for `RIFF....WEBP`.
bool is_webp(std::span<const uint8_t> file);
inline constexpr size_t kRiffHeaderBytes = 12;

/// One chunk with its padding byte.
void append_chunk(std::vector<uint8_t>& out, const char* name, std::span<const uint8_t> data);
void append_le(std::vector<uint8_t>& out, uint32_t value, int bytes);

/// One picture of an animation.
struct WebpFrame {
  uint32_t x = 0, y = 0, width = 0, height = 0, duration_ms = 0;
  std::span<const uint8_t> payload;  ///< its VP8, VP8L, ALPH chunks
};
struct WebpAnimation {
  uint32_t width = 0, height = 0;
  std::vector<WebpFrame> frames;
};
/// Absent for files that are no animation. The spans point into `file`.
std::optional<WebpAnimation> parse_webp_animation(std::span<const uint8_t> file);
/// A WebP file of its own for one frame of an animation.
std::vector<uint8_t> standalone_webp(const WebpFrame& frame);

/// An XMP packet whose dc:description is `text`, and back.
std::string make_xmp(const std::string& text);
std::optional<std::string> description_of_xmp(std::string_view xmp);

}  // namespace t2v::media
