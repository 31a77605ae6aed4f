// SPDX-License-Identifier: Apache-2.0
// What can be refused by looking at the file system, before a byte of a model is read.
#pragma once

#include <string>

#include "cli/invocation.hpp"

namespace t2v::cli {

enum class Verdict { run, skip };

/// Inputs exist, the output's format is known, its folder can be written, nothing is overwritten
/// unasked. skip: --skip-existing and the output is there. Throws usage, bad_input or output.
Verdict preflight(const Invocation& invocation);

/// "mp4", from --format or the extension (any case); "y4m" for "-". Throws Error{usage}.
std::string output_format(const OutputOptions& output);

/// True when `path` holds a frame number like %04d.
bool is_frame_pattern(const std::string& path);
/// The file of one frame of a checked pattern; `path` itself when it is none.
std::string frame_path(const std::string& path, int64_t frame);

}  // namespace t2v::cli
