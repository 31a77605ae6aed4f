// SPDX-License-Identifier: Apache-2.0
#include "media/sinks.hpp"

#include <algorithm>
#include <cctype>
#include <vector>

#include "core/text.hpp"
#include "media/async_sink.hpp"
#include "media/sink_openers.hpp"
#include "t2v/error.hpp"

namespace t2v::media {

namespace {

constexpr SinkRow kSinks[] = {
    {"mp4", ".mp4 .m4v", "H.264 (x264) in MP4, plays everywhere", true, open_video_sink},
    {"mov", ".mov", "H.264 in QuickTime", true, open_video_sink},
    {"mkv", ".mkv", "H.264 in Matroska; --codec ffv1 is lossless", true, open_video_sink},
    {"webm", ".webm", "VP9 in WebM", true, open_video_sink},
    {"gif", ".gif", "animated GIF with a palette of the clip", true, open_gif_sink},
    {"webp", ".webp", "animated WebP", true, open_webp_sink},
    {"y4m", ".y4m", "raw YUV4MPEG2, BT.709 limited range; the default of standard output", true, open_y4m_sink},
    {"png", ".png", "PNG: f%04d.png is one file a frame", true, open_png_sink},
    {"hash", "", "SHA-256 of every RGB frame and of all, as text", false, open_hash_sink},
    {"null", "", "no output, for timing", false, open_null_sink},
};

std::vector<std::string> known_names() {
  std::vector<std::string> names;
  for (const SinkRow& row : kSinks) names.emplace_back(row.name);
  return names;
}

std::string known_extensions() {
  std::string all;
  for (const SinkRow& row : kSinks) {
    if (row.extensions.empty()) continue;
    if (!all.empty()) all += ' ';
    all += row.extensions;
  }
  return all;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool has_word(std::string_view words, std::string_view word) {
  size_t at = words.find(word);
  for (; at != std::string_view::npos; at = words.find(word, at + 1)) {
    const size_t end = at + word.size();
    if ((at == 0 || words[at - 1] == ' ') && (end == words.size() || words[end] == ' ')) return true;
  }
  return false;
}

const SinkRow& row_of(const std::filesystem::path& path, std::string_view format) {
  if (!format.empty() || path == "-") {
    const std::string name = format.empty() ? "y4m" : lower(std::string(format));
    for (const SinkRow& row : kSinks) {
      if (row.name == name || (!row.extensions.empty() && has_word(row.extensions, "." + name))) return row;
    }
    throw Error(ErrorCode::usage, "--format: " + std::string(format) + ": wanted a known format",
                did_you_mean(name, known_names()));
  }
  const std::string extension = lower(path.extension().string());
  for (const SinkRow& row : kSinks) {
    if (extension.size() > 1 && has_word(row.extensions, extension)) return row;
  }
  throw Error(ErrorCode::usage,
              "--output: " + path.string() + ": wanted a file name that ends in one of " + known_extensions() +
                  ", got " + (extension.size() > 1 ? "'" + extension + "'" : "no extension"),
              "give the file a known extension, or choose with --format");
}

}  // namespace

std::span<const SinkRow> sink_rows() { return kSinks; }

std::string_view format_from_path(const std::filesystem::path& path, std::string_view format) {
  if (path.empty()) throw Error(ErrorCode::usage, "--output: wanted a file name, got an empty one");
  return row_of(path, format).name;
}

void throw_no_frames(const std::string& where) {
  throw Error(ErrorCode::output, "can't write: " + where + ": wanted at least one frame, got none");
}

void refuse_encoder_settings(const VideoSpec& spec, const char* pix_fmt) {
  const char* flag = !spec.codec.empty()    ? "--codec"
                     : spec.crf >= 0        ? "--crf"
                     : !spec.preset.empty() ? "--preset"
                                            : nullptr;
  if (!flag && pix_fmt && !spec.pix_fmt.empty() && spec.pix_fmt != pix_fmt) flag = "--pix-fmt";
  if (flag)
    throw Error(ErrorCode::usage, std::string(flag) + ": " + spec.format + " output has no such setting",
                "leave it out");
}

}  // namespace t2v::media

namespace t2v {

std::unique_ptr<FrameSink> open_sink(const std::filesystem::path& path, const VideoSpec& spec) {
  using namespace media;
  VideoSpec resolved = spec;
  resolved.format = format_from_path(path, spec.format);
  const SinkRow& row = row_of(path, resolved.format);
  auto sink = row.open(path, resolved);
  return row.has_worker ? make_async(std::move(sink)) : std::move(sink);
}

}  // namespace t2v
