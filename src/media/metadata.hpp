// SPDX-License-Identifier: Apache-2.0
// The settings that a sink wrote into a file, read back.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace t2v::media {

/// The JSON object stored in a video, GIF, WebP or PNG, else in `<path>.json` beside it. For
/// f%04d.png, of the first file. Absent when there is none. Not validated beyond starting with '{'.
/// Throws Error{bad_input} when the file can't be opened.
std::optional<std::string> read_metadata(const std::filesystem::path& path);

}  // namespace t2v::media
