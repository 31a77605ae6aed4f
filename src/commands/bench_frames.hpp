// SPDX-License-Identifier: Apache-2.0
// Made-up frames through a real encoder, into a file that is deleted at once. For bench and doctor.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "t2v/frame_sink.hpp"

namespace t2v::commands {

/// Seconds a frame of default MP4 encoding, one value a pass.
std::vector<double> encode_seconds(int64_t width, int64_t height);
/// Seconds a frame of RGB to Y'CbCr 4:2:0, one value a pass.
std::vector<double> convert_seconds(int64_t width, int64_t height);
/// Opens an MP4 file that is deleted at the end, and lets `write` fill it.
void write_scratch_clip(int64_t width, int64_t height, Rational fps, const std::function<void(FrameSink&)>& write);
/// A drawn picture as a PNG file, which goes with the last copy of the pointer.
std::shared_ptr<const std::filesystem::path> scratch_picture(int64_t width, int64_t height);
/// Writes a short clip in `format`; says which encoder made it and how large it became. Throws what the sink throws.
std::string test_encode(const std::string& format);

}  // namespace t2v::commands
