// SPDX-License-Identifier: Apache-2.0
// The video encoders that t2v knows: which of them are here, and which made a file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace t2v::media {

/// libav's names, sorted by codec as --codec has them.
struct EncoderList {
  std::vector<std::string> here, missing;
};
EncoderList list_encoders();

/// The encoder of a file that open_sink() wrote without --codec. Empty when it is none of the list. Throws
/// Error{bad_input} when the file is no video.
std::string encoder_of(const std::filesystem::path& file);

}  // namespace t2v::media
