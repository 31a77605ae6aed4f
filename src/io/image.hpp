// SPDX-License-Identifier: Apache-2.0
// Still images in memory: PNG and JPEG in, PNG with text chunks out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/atomic_file.hpp"

namespace t2v::io {

/// 8-bit RGB, interleaved, rows without padding. [H, W, 3]
struct Image {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> rgb;
};

/// What diffusers' load_image() gives: EXIF orientation applied, then PIL's convert("RGB"): alpha is dropped, 16-bit
/// samples keep their high byte. Decoded by content; at most 64 megapixels. Error{bad_input}.
Image load_image(const std::filesystem::path& file);
Image decode_image(std::span<const std::byte> bytes, const std::string& where);

/// Key -> text of PNG text chunks. ASCII is written as tEXt, other UTF-8 as iTXt (tEXt is Latin-1).
using PngText = std::map<std::string, std::string>;

std::vector<std::byte> encode_png(int64_t width, int64_t height, std::span<const uint8_t> rgb,
                                  const PngText& text = {});
/// Atomic. Error{output}.
void save_png(const std::filesystem::path& file, const Image& image, const PngText& text = {},
              IfExists if_exists = IfExists::replace);

/// The text chunks of a PNG (compressed ones are left out). Error{bad_input} when it is no PNG or is damaged.
PngText read_png_text(const std::filesystem::path& file);
PngText png_text(std::span<const std::byte> bytes, const std::string& where);

}  // namespace t2v::io
