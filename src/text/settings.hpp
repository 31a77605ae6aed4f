// SPDX-License-Identifier: Apache-2.0
// What the small JSON files of a tokenizer folder say: tokenizer_config.json,
// special_tokens_map.json, added_tokens.json and the added_tokens of tokenizer.json, merged by the
// rules of transformers 5.23 (tokenization_utils_base.py _from_pretrained,
// tokenization_utils_tokenizers.py TokenizersBackend).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/config.hpp"
#include "text/added_vocabulary.hpp"

namespace t2v::text {

/// A special token: its text, and the flags where a file gave them. Without flags it is searched as
/// typed.
struct NamedToken {
  std::string content;
  std::optional<AddedToken> flags = std::nullopt;
  bool operator==(const NamedToken&) const = default;
};

/// The special tokens that have a role; the order of adding is that of transformers'
/// SPECIAL_TOKENS_ATTRIBUTES.
struct NamedTokens {
  std::optional<NamedToken> bos = {}, eos = {}, unk = {}, sep = {}, pad = {}, cls = {}, mask = {};
};

struct TokenizerSettings {
  NamedTokens named = {};
  std::vector<AddedToken> added = {};                 ///< in the order of adding; the last of the same content wins
  std::optional<std::vector<NamedToken>> extra = {};  ///< extra_special_tokens of the files
  int64_t model_max_length = 0;                       ///< 0: absent or "unlimited"
  int64_t extra_ids = 100;                            ///< T5's sentinels
};

/// Reads the files that are there; none has to be. `defaults` are the class's own special tokens.
/// `added_tokens` is that array of tokenizer.json, or null.
TokenizerSettings read_settings(const std::filesystem::path& folder, NamedTokens defaults,
                                const io::Json* added_tokens);

/// The tokens to add, in order: those of the files, then named ones, then `extra`.
std::vector<AddedToken> tokens_to_add(const TokenizerSettings& settings, const std::vector<NamedToken>& extra);

}  // namespace t2v::text
