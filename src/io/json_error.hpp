// SPDX-License-Identifier: Apache-2.0
// Parts of messages about files nobody vouches for.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace t2v::io {

/// Text from a file, made fit for a terminal: valid UTF-8, no control characters, cut to
/// `max_bytes`.
std::string printable(std::string_view text, size_t max_bytes = 200);

/// "not JSON at byte 12, near '...'" from what nlohmann's SAX parse_error() gets.
std::string json_syntax_problem(size_t position, std::string_view token, int error_id);

}  // namespace t2v::io
