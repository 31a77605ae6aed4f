// SPDX-License-Identifier: Apache-2.0
#include "text/charsmap.hpp"

#include <utility>

#include <utf8proc.h>

#include "core/text.hpp"
#include "t2v/error.hpp"
#include "text/unicode.hpp"

namespace t2v::text {

namespace {

// Units of a darts-clone double array (github.com/s-yata/darts-clone, darts.h).
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) == 1; }
uint32_t value_of(uint32_t unit) { return unit & 0x7FFFFFFF; }
uint32_t label_of(uint32_t unit) { return unit & 0x800000FF; }
uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); }

// Longer grapheme clusters are never looked up whole, only character by character.
constexpr size_t kWholeClusterBytes = 6;

// NFKC makes UTF-8 at most 11 times as long (Unicode's FAQ on normalisation); a map that does more
// was made to fill memory.
constexpr size_t kMaxGrowth = 16;

/// Length of the first extended grapheme cluster of `text`.
size_t cluster_length(std::string_view text) {
  CodePoint point = first_code_point(text);
  size_t at = point.bytes;
  utf8proc_int32_t state = 0;
  while (at < text.size()) {
    const CodePoint next = first_code_point(text.substr(at));
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(point.value),
                                         static_cast<utf8proc_int32_t>(next.value), &state)) {
      break;
    }
    at += next.bytes;
    point = next;
  }
  return at;
}

uint32_t read_u32(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return value;
}

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::bad_input, "bad tokenizer: " + where + ": precompiled_charsmap: " + what);
}

}  // namespace

Charsmap::Charsmap(std::string_view blob, std::string where) : where_(std::move(where)) {
  if (blob.size() < 4) fail(where_, "wanted at least 4 bytes, got " + std::to_string(blob.size()));
  const uint32_t trie_bytes = read_u32(blob);
  blob.remove_prefix(4);
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > blob.size()) {
    fail(where_, "wanted a trie of 4 to " + std::to_string(blob.size()) + " bytes, got " + std::to_string(trie_bytes));
  }
  trie_.reserve(trie_bytes / 4);
  for (size_t at = 0; at < trie_bytes; at += 4) {
    trie_.push_back(read_u32(blob.substr(at)));
  }
  replacements_ = blob.substr(trie_bytes);
  if (replace_invalid_utf8(replacements_) != replacements_) fail(where_, "replacements are not UTF-8");
  unit(offset_of(trie_[0]));
}

uint32_t Charsmap::unit(size_t position) const {
  if (position >= trie_.size()) {
    fail(where_, "unit " + std::to_string(position) + " of a trie of " + std::to_string(trie_.size()));
  }
  return trie_[position];
}

/// The replacement of the shortest key that `part` begins with. It then stands for the whole part:
/// so the library does.
std::optional<std::string_view> Charsmap::replacement(std::string_view part) const {
  size_t position = offset_of(trie_[0]);
  for (const char c : part) {
    const auto label = static_cast<unsigned char>(c);
    if (label == 0) break;
    position ^= label;
    const uint32_t here = unit(position);
    if (label_of(here) != label) break;
    position ^= offset_of(here);
    if (!has_leaf(here)) continue;
    const size_t start = value_of(unit(position));
    if (start > replacements_.size() ||
        (start < replacements_.size() && (static_cast<unsigned char>(replacements_[start]) & 0xC0) == 0x80)) {
      fail(where_, "replacement " + std::to_string(start) + " of " + std::to_string(replacements_.size()) + " bytes");
    }
    const std::string_view rest = std::string_view(replacements_).substr(start);
    return rest.substr(0, rest.find('\0'));
  }
  return std::nullopt;
}

std::string Charsmap::normalize(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  const size_t limit = kMaxGrowth * (text.size() + 16);
  const auto append = [&](std::string_view part) {
    if (part.size() > limit - out.size()) fail(where_, "text grows more than " + std::to_string(kMaxGrowth) + " times");
    out += part;
  };
  while (!text.empty()) {
    std::string_view cluster = text.substr(0, cluster_length(text));
    text.remove_prefix(cluster.size());
    if (cluster.size() < kWholeClusterBytes) {
      if (const auto whole = replacement(cluster)) {
        append(*whole);
        continue;
      }
    }
    while (!cluster.empty()) {
      const std::string_view character = cluster.substr(0, first_code_point(cluster).bytes);
      append(replacement(character).value_or(character));
      cluster.remove_prefix(character.size());
    }
  }
  return out;
}

}  // namespace t2v::text
