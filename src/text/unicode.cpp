// SPDX-License-Identifier: Apache-2.0
#include "text/unicode.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <new>
#include <span>

#include <utf8proc.h>

#include "core/check.hpp"

namespace t2v::text {

namespace {

struct CodePointRange {
  char32_t first, last;
};

#include "text/unicode_tables.inc"

bool contains(std::span<const CodePointRange> ranges, char32_t code_point) {
  const auto after = std::ranges::upper_bound(ranges, code_point, {}, &CodePointRange::first);
  return after != ranges.begin() && code_point <= std::prev(after)->last;
}

// Lower-case pairs that Unicode 16 and 17 brought; a host's utf8proc may be older (2.7 is Unicode
// 14, which has all earlier ones).
struct LateCase {
  char32_t first, last;
  int32_t offset;
  char32_t step;
};
constexpr LateCase kLateCases[] = {{0x1C89, 0x1C89, 1, 1},      {0xA7CB, 0xA7CB, 0x264 - 0xA7CB, 1},
                                   {0xA7CC, 0xA7CE, 1, 2},      {0xA7D2, 0xA7D4, 1, 2},
                                   {0xA7DA, 0xA7DA, 1, 1},      {0xA7DC, 0xA7DC, 0x19B - 0xA7DC, 1},
                                   {0x10D50, 0x10D65, 0x20, 1}, {0x16EA0, 0x16EB8, 0x1B, 1}};

char32_t lower_one(char32_t code_point) {
  for (const LateCase& row : kLateCases) {
    if (code_point >= row.first && code_point <= row.last && (code_point - row.first) % row.step == 0) {
      return static_cast<char32_t>(static_cast<int32_t>(code_point) + row.offset);
    }
  }
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code_point)));
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

void append_nfc(std::string& out, std::string_view text) {
  if (is_ascii(text)) {
    out += text;
    return;
  }
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &mapped, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (length == UTF8PROC_ERROR_NOMEM) throw std::bad_alloc();
  T2V_CHECK(length >= 0, "text for NFC must be valid UTF-8");
  out.append(reinterpret_cast<const char*>(mapped), static_cast<size_t>(length));
}

}  // namespace

CodePoint first_code_point(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  const char32_t lead = byte(0);
  const size_t bytes = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  T2V_CHECK(bytes <= text.size(), "text must be valid UTF-8");
  char32_t value = bytes == 1 ? lead : lead & (0x7F >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    value = value << 6 | (byte(i) & 0x3F);
  }
  return {value, bytes};
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

bool is_letter(char32_t code_point) { return contains(kLetters, code_point); }
bool is_number(char32_t code_point) { return contains(kNumbers, code_point); }

bool is_space(char32_t code_point) {
  switch (code_point) {
    case 0x20:
    case 0x85:
    case 0xA0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202F:
    case 0x205F:
    case 0x3000: return true;
    default: return (code_point >= 0x09 && code_point <= 0x0D) || (code_point >= 0x2000 && code_point <= 0x200A);
  }
}

std::string nfc(std::string_view text) {
  // The reference's NFC follows Unicode 9: a mark or a composition that came later is a plain
  // starter there, across which nothing moves or composes. Normalising the text between such code
  // points gives the same.
  std::string out;
  size_t start = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = first_code_point(text.substr(at));
    if (point.value >= 0x300 && contains(kNfcBarriers, point.value)) {
      append_nfc(out, text.substr(start, at - start));
      out += text.substr(at, point.bytes);
      start = at + point.bytes;
    }
    at += point.bytes;
  }
  append_nfc(out, text.substr(start));
  return out;
}

std::string lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint point = first_code_point(text);
    if (point.value == 0x130) {  // capital I with dot above: SpecialCasing.txt, the only unconditional row
      out += "i\u0307";
    } else if (point.value < 0x80) {
      out += static_cast<char>(point.value >= 'A' && point.value <= 'Z' ? point.value + 32 : point.value);
    } else {
      append_utf8(out, lower_one(point.value));
    }
    text.remove_prefix(point.bytes);
  }
  return out;
}

std::string collapse_spaces(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_space = false;
  while (!text.empty()) {
    const CodePoint point = first_code_point(text);
    const bool space = is_space(point.value);
    if (!space) {
      out += text.substr(0, point.bytes);
    } else if (!in_space) {
      out += ' ';
    }
    in_space = space;
    text.remove_prefix(point.bytes);
  }
  return out;
}

}  // namespace t2v::text
