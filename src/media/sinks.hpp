// SPDX-License-Identifier: Apache-2.0
// The table of output formats, for open_sink() and for the command line: checks without opening,
// and the help list.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "t2v/frame_sink.hpp"

namespace t2v::media {

struct SinkRow {
  std::string_view name;        ///< what --format takes: "mp4"
  std::string_view extensions;  ///< space separated, lower case, with dots; empty: by --format only
  std::string_view about;       ///< one line for the help
  bool has_worker;              ///< conversion and encoding run in a thread of their own
  std::unique_ptr<FrameSink> (*open)(const std::filesystem::path&, const VideoSpec&);
};

std::span<const SinkRow> sink_rows();

/// The format's name: `format` when not empty, else by the extension of `path` (any case); "-" is
/// y4m. Throws Error{usage} with the known ones. Touches no file.
std::string_view format_from_path(const std::filesystem::path& path, std::string_view format = {});

}  // namespace t2v::media
