// SPDX-License-Identifier: Apache-2.0
#include "io/image.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <unordered_set>
#include <utility>

#include "core/check.hpp"
#include "core/text.hpp"
#include "io/mmap_file.hpp"
#include "t2v/error.hpp"

namespace {

// stb allocates what a stream asks for; each decode gets a budget from the image's size (see
// decode_limit).
thread_local size_t stb_budget = 0;

// What a failed assertion, which leaves stb's functions as an exception, would leak.
thread_local std::unordered_set<void*> stb_blocks;

// Zeros: stb 2.27 reads the Huffman tables that a picture names and never defines, beyond their ends where they hold
// anything.
void* stb_malloc(size_t size) {
  void* block = size > stb_budget ? nullptr : std::calloc(1, size);
  if (block) stb_blocks.insert(block);
  return block;
}
void stb_free(void* block) {
  stb_blocks.erase(block);
  std::free(block);
}
void* stb_realloc(void* old, size_t size) {
  void* block = size > stb_budget ? nullptr : std::realloc(old, size);
  if (!block) return nullptr;
  stb_blocks.erase(old);
  stb_blocks.insert(block);
  return block;
}

/// While it lives, blocks of stb may; the picture is one of them.
struct StbScope {
  StbScope() = default;
  StbScope(const StbScope&) = delete;
  StbScope& operator=(const StbScope&) = delete;
  ~StbScope() {
    for (void* block : stb_blocks) std::free(block);
    stb_blocks.clear();
  }
};

[[noreturn]] void stb_assertion_failed() {
  throw t2v::Error(t2v::ErrorCode::bad_input, "bad image: broken data", "give a PNG or JPEG file");
}

}  // namespace

#define STBI_MALLOC(size) stb_malloc(size)
#define STBI_REALLOC(old, size) stb_realloc(old, size)
#define STBI_FREE(old) stb_free(old)
#define STBI_ASSERT(condition) ((condition) ? void() : stb_assertion_failed())
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS 16384
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_image.h>
#include <stb_image_write.h>
#pragma GCC diagnostic pop

namespace t2v::io {

namespace {

constexpr int64_t kMaxPixels = 64'000'000;
constexpr size_t kMaxFileBytes = size_t{256} << 20;
constexpr std::string_view kPngSignature("\x89PNG\r\n\x1a\n", 8);

Error bad_image(const std::string& where, const std::string& what) {
  return Error(ErrorCode::bad_input, "bad image: " + where + ": " + what, "give a PNG or JPEG file");
}

uint32_t big32(std::span<const std::byte> bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | std::to_integer<uint32_t>(bytes[i]);
  return value;
}

/// CRC-32 of PNG (ISO 3309), section D of the PNG specification.
uint32_t crc32(std::span<const std::byte> bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> rows{};
    for (uint32_t i = 0; i < 256; ++i) {
      rows[i] = i;
      for (int bit = 0; bit < 8; ++bit) rows[i] = (rows[i] & 1 ? 0xEDB88320u : 0) ^ rows[i] >> 1;
    }
    return rows;
  }();
  uint32_t crc = 0xFFFFFFFF;
  for (const std::byte byte : bytes) crc = table[(crc ^ std::to_integer<uint32_t>(byte)) & 0xFF] ^ crc >> 8;
  return ~crc;
}

struct PngChunk {
  std::string_view type;
  std::span<const std::byte> data;
};

bool is_png(std::span<const std::byte> bytes) {
  return bytes.size() >= 8 && std::memcmp(bytes.data(), kPngSignature.data(), 8) == 0;
}

/// All chunks up to IEND, with the checksums that stb does not verify.
std::vector<PngChunk> png_chunks(std::span<const std::byte> bytes, const std::string& where) {
  if (!is_png(bytes)) throw bad_image(where, "wanted a PNG, got something else");
  std::vector<PngChunk> chunks;
  size_t position = 8;
  while (true) {
    const auto rest = bytes.subspan(position);
    if (rest.size() < 12 || big32(rest) > rest.size() - 12) throw bad_image(where, "the PNG is cut short");
    const size_t size = big32(rest);
    const std::string_view type(reinterpret_cast<const char*>(rest.data()) + 4, 4);
    // Only in chunks a picture can't do without (upper case): PIL lets the others pass as well.
    const bool is_critical = (type[0] & 0x20) == 0;
    if (is_critical && crc32(rest.subspan(4, size + 4)) != big32(rest.subspan(8 + size))) {
      throw bad_image(where, "a PNG chunk with a wrong checksum");
    }
    chunks.push_back({type, rest.subspan(8, size)});
    position += size + 12;
    if (type == "IEND") return chunks;
  }
}

/// The orientation tag (274) of a TIFF structure, 1 when there is none. Exif 2.32 section 4.6.2.
int tiff_orientation(std::span<const std::byte> tiff) {
  if (tiff.size() < 8) return 1;
  const bool is_little = tiff[0] == std::byte{'I'};
  const auto number = [&](size_t offset, size_t size) -> std::optional<uint32_t> {
    if (offset > tiff.size() || tiff.size() - offset < size) return std::nullopt;
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      value = value << 8 | std::to_integer<uint32_t>(tiff[offset + (is_little ? size - 1 - i : i)]);
    }
    return value;
  };
  const size_t directory = *number(4, 4);
  const auto count = number(directory, 2);
  for (size_t i = 0; count && i < *count; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    const auto tag = number(entry, 2), value = number(entry + 8, 2);
    if (!tag || !value) break;
    if (*tag == 274) return *value >= 1 && *value <= 8 ? static_cast<int>(*value) : 1;
  }
  return 1;
}

/// stb 2.27 writes past its tables when the code counts of a Huffman table add up to more than 256
/// (fixed in 2.28), and takes the last of 256 for its mark of a long code. No encoder needs so many: there are 176
/// symbols of 8-bit pictures. `data` starts behind the length of a DHT segment; what goes past it is refused, because
/// stb would read on behind it.
void check_huffman_tables(std::span<const std::byte> data, size_t segment_size, const std::string& where) {
  size_t left = segment_size;
  while (left > 0) {
    size_t codes = 0;
    const bool has_counts = left >= 17 && data.size() >= 17;
    for (size_t i = 1; has_counts && i <= 16; ++i) codes += std::to_integer<size_t>(data[i]);
    if (codes > 255) throw bad_image(where, "a JPEG Huffman table of more than 255 codes");
    if (!has_counts || 17 + codes > std::min(left, data.size())) {
      throw bad_image(where, "a JPEG Huffman table longer than its segment");
    }
    data = data.subspan(17 + codes);
    left -= 17 + codes;
  }
}

/// Walks the whole JPEG as stb does: gives the orientation of the first Exif segment, and checks
/// what stb does not.
int inspect_jpeg(std::span<const std::byte> bytes, const std::string& where) {
  const auto byte = [&](size_t i) { return std::to_integer<unsigned>(bytes[i]); };
  int orientation = 1;
  bool has_scan = false;
  size_t position = 2;
  while (true) {
    while (position < bytes.size() && byte(position) != 0xFF) ++position;  // picture data, padding
    while (position < bytes.size() && byte(position) == 0xFF) ++position;
    if (position >= bytes.size()) break;
    const unsigned marker = byte(position++);
    const bool is_data = marker == 0 || marker == 1 || (marker >= 0xD0 && marker <= 0xD8);
    if (is_data) continue;
    if (marker == 0xD9 && has_scan) return orientation;
    if (bytes.size() - position < 2) break;
    const size_t size = byte(position) << 8 | byte(position + 1);
    if (size < 2) break;
    const auto rest = bytes.subspan(position + 2);
    const auto data = rest.first(std::min(rest.size(), size - 2));
    if (marker == 0xC4) check_huffman_tables(rest, size - 2, where);
    if (marker == 0xDA) has_scan = true;
    if (marker == 0xE1 && orientation == 1 && data.size() > 6 && std::memcmp(data.data(), "Exif\0\0", 6) == 0) {
      orientation = tiff_orientation(data.subspan(6));
    }
    position += std::min(size, bytes.size() - position);
  }
  // stb fills what is missing with grey; PIL refuses such files, and so do we.
  throw bad_image(where, "the JPEG is cut short");
}

int png_orientation(const std::vector<PngChunk>& chunks) {
  for (const auto& chunk : chunks) {
    if (chunk.type == "eXIf") return tiff_orientation(chunk.data);
  }
  return 1;
}

/// PIL.ImageOps.exif_transpose: 2 mirror, 3 turn 180, 4 flip, 5 transpose, 6 turn right, 7
/// transverse, 8 turn left.
Image oriented(Image image, int orientation) {
  if (orientation <= 1) return image;
  const bool swaps_axes = orientation >= 5;
  Image out{swaps_axes ? image.height : image.width, swaps_axes ? image.width : image.height, {}};
  out.rgb.resize(image.rgb.size());
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  for (int64_t y = 0; y < out.height; ++y) {
    for (int64_t x = 0; x < out.width; ++x) {
      int64_t source_x = swaps_axes ? y : x, source_y = swaps_axes ? x : y;
      if (from_right) source_x = image.width - 1 - source_x;
      if (from_bottom) source_y = image.height - 1 - source_y;
      std::copy_n(image.rgb.begin() + 3 * (source_y * image.width + source_x), 3,
                  out.rgb.begin() + 3 * (y * out.width + x));
    }
  }
  return out;
}

/// Bytes a single allocation of stb may take: raw data of 16-bit RGBA, some slack for small
/// pictures.
size_t decode_limit(int64_t width, int64_t height, size_t file_bytes) {
  return static_cast<size_t>(width + 16) * static_cast<size_t>(height + 16) * 8 * 2 + 2 * file_bytes +
         (size_t{1} << 20);
}

/// No picture of this size takes fewer bytes: a JPEG spends a bit on each 16x16 pixels at least (on 8x8, but for odd
/// ways of subsampling), a PNG has a bit for each pixel at least, of which deflate packs 1032 bytes in one. What is cut
/// off would be decoded to grey, at hundreds of MB.
int64_t least_bytes(bool is_jpeg, int64_t width, int64_t height) {
  const int64_t pixels_a_byte = is_jpeg ? 16 * 16 * 8 : 1032 * 8;
  return width * height / pixels_a_byte;
}

}  // namespace

Image decode_image(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() > kMaxFileBytes) {
    throw bad_image(where, "wanted at most 268 MB, got " + human_bytes(static_cast<int64_t>(bytes.size())));
  }
  const bool is_jpeg = bytes.size() > 3 && bytes[0] == std::byte{0xFF} && bytes[1] == std::byte{0xD8};
  if (!is_jpeg && !is_png(bytes)) {
    throw bad_image(where, "wanted a PNG or JPEG, got something else");
  }

  // Before stb sees a byte: this finds what stb would stumble over.
  const int orientation = is_jpeg ? inspect_jpeg(bytes, where) : png_orientation(png_chunks(bytes, where));
  const auto* data = reinterpret_cast<const stbi_uc*>(bytes.data());
  const int size = static_cast<int>(bytes.size());
  int width = 0, height = 0, channels = 0;
  const StbScope scope;
  stb_budget = size_t{1} << 20;  // enough to read a header
  if (!stbi_info_from_memory(data, size, &width, &height, &channels)) {
    throw bad_image(where, std::string("it can't be decoded: ") + stbi_failure_reason());
  }
  if (width <= 0 || height <= 0 || int64_t{width} * height > kMaxPixels) {
    throw bad_image(where, "wanted at most 64 megapixels, got " + std::to_string(width) + "x" + std::to_string(height));
  }
  if (const int64_t least = least_bytes(is_jpeg, width, height); static_cast<int64_t>(bytes.size()) < least) {
    throw bad_image(where, "wanted at least " + std::to_string(least) + " bytes for " + std::to_string(width) + "x" +
                               std::to_string(height) + " pixels, got " + std::to_string(bytes.size()));
  }
  stb_budget = decode_limit(width, height, bytes.size());
  const stbi_uc* pixels = stbi_load_from_memory(data, size, &width, &height, &channels, 3);
  if (!pixels) throw bad_image(where, std::string("it can't be decoded: ") + stbi_failure_reason());
  const size_t count = static_cast<size_t>(width) * static_cast<size_t>(height) * 3;
  return oriented(Image{width, height, {pixels, pixels + count}}, orientation);
}

Image load_image(const std::filesystem::path& file) {
  return decode_image(MmapFile::open(file)->bytes(), file.string());
}

namespace {

void append_big32(std::vector<std::byte>& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::byte>(value >> shift & 0xFF));
}

void append_text(std::vector<std::byte>& out, std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

/// tEXt: key NUL text. iTXt: key NUL, not compressed, no language, no translated key, text in
/// UTF-8.
void append_text_chunk(std::vector<std::byte>& out, const std::string& key, const std::string& text) {
  const bool is_ascii =
      std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  std::string data = key;
  data += is_ascii ? std::string_view("\0", 1) : std::string_view("\0\0\0\0\0", 5);
  data += is_ascii ? text : replace_invalid_utf8(text);
  T2V_CHECK(data.size() < (size_t{1} << 31), "a PNG text chunk of more than 2 GiB");
  append_big32(out, static_cast<uint32_t>(data.size()));
  const size_t checked_from = out.size();
  append_text(out, is_ascii ? "tEXt" : "iTXt");
  append_text(out, data);
  append_big32(out, crc32(std::span(out).subspan(checked_from)));
}

}  // namespace

std::vector<std::byte> encode_png(int64_t width, int64_t height, std::span<const uint8_t> rgb, const PngText& text) {
  T2V_CHECK(width > 0 && height > 0 && width * height <= kMaxPixels * 4, "a PNG of an impossible size");
  T2V_CHECK(rgb.size() == static_cast<size_t>(width * height * 3), "pixels that do not fit the size of the PNG");
  int size = 0;
  const std::unique_ptr<unsigned char, decltype(&std::free)> png(
      stbi_write_png_to_mem(rgb.data(), static_cast<int>(width * 3), static_cast<int>(width), static_cast<int>(height),
                            3, &size),
      &std::free);
  if (!png) throw std::bad_alloc();
  const auto bytes = std::as_bytes(std::span(png.get(), static_cast<size_t>(size)));
  constexpr size_t kAfterHeader = 8 + 25;  // signature and IHDR, which must come first
  std::vector<std::byte> out(bytes.begin(), bytes.begin() + kAfterHeader);
  for (const auto& [key, value] : text) append_text_chunk(out, key, value);
  out.insert(out.end(), bytes.begin() + kAfterHeader, bytes.end());
  return out;
}

void save_png(const std::filesystem::path& file, const Image& image, const PngText& text, IfExists if_exists) {
  AtomicFile out(file, if_exists);
  out.write(encode_png(image.width, image.height, image.rgb, text));
  out.commit();
}

PngText png_text(std::span<const std::byte> bytes, const std::string& where) {
  PngText found;
  for (const auto& chunk : png_chunks(bytes, where)) {
    if (chunk.type != "tEXt" && chunk.type != "iTXt") continue;
    std::string_view data(reinterpret_cast<const char*>(chunk.data.data()), chunk.data.size());
    const std::string key(data.substr(0, data.find('\0')));
    if (key.size() == data.size()) continue;
    data.remove_prefix(key.size() + 1);
    if (chunk.type == "iTXt") {
      if (data.size() < 2 || data[0] != 0) continue;  // compressed
      data.remove_prefix(2);
      for (int skipped = 0; skipped < 2; ++skipped) {  // language, translated key
        data.remove_prefix(std::min(data.size(), data.find('\0') == data.npos ? data.size() : data.find('\0') + 1));
      }
    }
    found.emplace(key, data);
  }
  return found;
}

PngText read_png_text(const std::filesystem::path& file) {
  return png_text(MmapFile::open(file)->bytes(), file.string());
}

}  // namespace t2v::io
