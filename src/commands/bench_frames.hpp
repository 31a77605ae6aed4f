// SPDX-License-Identifier: Apache-2.0
// Made-up frames through a real encoder, into a file that is deleted at once. For bench and doctor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace t2v::commands {

/// Seconds a frame of default MP4 encoding, one value a pass.
std::vector<double> encode_seconds(int64_t width, int64_t height);
/// Writes a short clip in `format`; says how large it became. Throws what the sink throws.
std::string test_encode(const std::string& format);

}  // namespace t2v::commands
