// SPDX-License-Identifier: Apache-2.0
// Unicode as the reference tokenizers see it: the classes \p{L}, \p{N} and \s, NFC, and
// lower-casing of single code points. The classes are stored tables (scripts/unicode_tables.py), so
// results don't change with the host's utf8proc.
#pragma once

#include <string>
#include <string_view>

namespace t2v::text {

/// One code point and its length in bytes. `text` is valid UTF-8 and not empty (see
/// replace_invalid_utf8).
struct CodePoint {
  char32_t value = 0;
  size_t bytes = 0;
};
CodePoint first_code_point(std::string_view text);
void append_utf8(std::string& out, char32_t code_point);

bool is_letter(char32_t code_point);  ///< \p{L}
bool is_number(char32_t code_point);  ///< \p{N}
bool is_space(char32_t code_point);   ///< \s: the property White_Space

std::string nfc(std::string_view text);
/// Each code point by itself, without context: a final sigma stays a plain one, U+0130 becomes two
/// code points.
std::string lower(std::string_view text);
/// Each run of white space becomes one space.
std::string collapse_spaces(std::string_view text);

}  // namespace t2v::text
