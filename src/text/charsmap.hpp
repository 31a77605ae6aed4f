// SPDX-License-Identifier: Apache-2.0
// SentencePiece's precompiled normalisation (NFKC and more): a double-array trie from character
// sequences to their replacements, applied as the tokenizers library does it (0.23,
// normalizers/precompiled.rs).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace t2v::text {

/// Immutable after construction; safe to share. A map of an untrusted file can't be made to read
/// outside itself.
class Charsmap {
 public:
  /// `blob`: u32 size of the trie in bytes, the trie (u32 units), replacements that end with NUL;
  /// all little-endian. Throws Error{bad_input}.
  Charsmap(std::string_view blob, std::string where);

  /// Throws Error{bad_input} where the trie turns out to point outside itself.
  std::string normalize(std::string_view text) const;

 private:
  std::optional<std::string_view> replacement(std::string_view part) const;
  uint32_t unit(size_t position) const;

  std::string where_;
  std::vector<uint32_t> trie_;
  std::string replacements_;
};

}  // namespace t2v::text
