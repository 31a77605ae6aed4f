// SPDX-License-Identifier: Apache-2.0
// Small text helpers for messages.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace t2v {

/// The candidate closest to `word` by edit distance, or nothing if none is close. For "did you mean" hints.
std::optional<std::string> closest(std::string_view word, std::span<const std::string> candidates);
/// "did you mean 'x'?" or the list of candidates.
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);
std::string join(std::span<const std::string> parts, std::string_view separator);
std::string join_ints(std::span<const int64_t> values);   ///< "[1, 2, 3]"
std::string human_bytes(int64_t bytes);                   ///< "1.41 GB" (powers of 1000)
std::string human_seconds(double seconds);                ///< "1m 04s", "3.2s"
std::string first_line(std::string_view text);            ///< without its end of line
std::string replace_invalid_utf8(std::string_view text);  ///< each bad byte sequence becomes U+FFFD

}  // namespace t2v
