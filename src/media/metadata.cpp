// SPDX-License-Identifier: Apache-2.0
#include "media/metadata.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <string_view>

#include "io/mmap_file.hpp"
#include "media/avio.hpp"
#include "media/gif_comment.hpp"
#include "media/png_file.hpp"
#include "media/sidecar.hpp"
#include "media/webp_file.hpp"

namespace t2v::media {

namespace {

namespace fs = std::filesystem;
using Bytes = std::span<const uint8_t>;

constexpr size_t kMaxSidecarBytes = size_t{16} << 20;
constexpr std::string_view kPngSignature("\x89PNG\r\n\x1a\n", 8);

bool starts_with(Bytes file, std::string_view magic) {
  return file.size() >= magic.size() && std::memcmp(file.data(), magic.data(), magic.size()) == 0;
}

/// The text of the first tEXt or (uncompressed) iTXt chunk named "comment", in any case.
std::optional<std::string> read_png_comment(Bytes file) {
  file = file.subspan(kPngSignature.size());
  while (file.size() >= 12) {
    const size_t size = size_t{file[0]} << 24 | size_t{file[1]} << 16 | size_t{file[2]} << 8 | file[3];
    if (size > file.size() - 12) return std::nullopt;
    const std::string_view name(reinterpret_cast<const char*>(file.data() + 4), 4);
    std::string_view body(reinterpret_cast<const char*>(file.data() + 8), size);
    file = file.subspan(12 + size);
    if (name != "tEXt" && name != "iTXt") continue;
    std::string keyword(body.substr(0, body.find('\0')));
    if (keyword.size() == body.size()) continue;
    std::transform(keyword.begin(), keyword.end(), keyword.begin(), [](unsigned char c) { return std::tolower(c); });
    if (keyword != "comment") continue;
    body.remove_prefix(keyword.size() + 1);
    if (name == "iTXt") {
      if (body.size() < 2 || body[0] != 0) continue;  // compressed: not ours
      body.remove_prefix(2);
      for (int field = 0; field < 2; ++field) body.remove_prefix(std::min(body.size(), body.find('\0') + 1));
    }
    return std::string(body);
  }
  return std::nullopt;
}

std::optional<std::string> read_webp_description(Bytes file) {
  for (const RiffChunk& chunk : riff_chunks(file.subspan(kRiffHeaderBytes))) {
    if (std::string_view(chunk.name, 4) != "XMP ") continue;
    return description_of_xmp({reinterpret_cast<const char*>(chunk.data.data()), chunk.data.size()});
  }
  return std::nullopt;
}

/// Null when the file is no video.
UniqueInputContext open_if_video(AvioInput& input) {
  try {
    return input.open_container();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
    return nullptr;
  }
}

std::optional<std::string> read_container_comment(const fs::path& path) {
  AvioInput input(path);
  const UniqueInputContext container = open_if_video(input);
  if (!container) return std::nullopt;
  const AVDictionaryEntry* entry = av_dict_get(container->metadata, "comment", nullptr, 0);
  if (!entry) return std::nullopt;
  return std::string(entry->value);
}

std::optional<std::string> read_embedded(const fs::path& path) {
  const auto file = io::MmapFile::open(path);
  const Bytes bytes(reinterpret_cast<const uint8_t*>(file->bytes().data()), file->bytes().size());
  if (starts_with(bytes, kPngSignature)) return read_png_comment(bytes);
  if (starts_with(bytes, "GIF8")) return read_gif_comment(bytes);
  if (is_webp(bytes)) return read_webp_description(bytes);
  return read_container_comment(path);
}

bool looks_like_object(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string::npos && text[first] == '{';
}

/// The first file of a numbered sequence, or the path itself.
fs::path first_file(const fs::path& path) {
  std::error_code error;
  if (fs::exists(path, error) || path.filename().string().find('%') == std::string::npos) return path;
  const auto pattern = FramePattern::parse(path);
  std::optional<int64_t> first;
  const fs::path folder = pattern->folder().empty() ? fs::path(".") : pattern->folder();
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const auto index = pattern->index_of(it->path().filename().string());
    if (index && (!first || *index < *first)) first = index;
  }
  return first ? pattern->file(*first) : path;
}

}  // namespace

std::optional<std::string> read_metadata(const fs::path& path) {
  const fs::path file = first_file(path);
  if (auto text = read_embedded(file); text && looks_like_object(*text)) return text;
  std::error_code error;
  if (!fs::is_regular_file(sidecar_path(file), error)) return std::nullopt;
  std::string text = io::read_file(sidecar_path(file), kMaxSidecarBytes);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (!looks_like_object(text)) return std::nullopt;
  return text;
}

}  // namespace t2v::media
