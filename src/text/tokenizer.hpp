// SPDX-License-Identifier: Apache-2.0
// Prompt text to token ids, without libtorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace t2v::text {

struct Tokens {
  std::vector<int64_t> ids;   ///< [L], padded to max_length
  std::vector<uint8_t> mask;  ///< [L], 1 = a real token (specials included), 0 = padding
  int64_t unknown = 0;        ///< tokens the vocabulary does not know (<unk>)
  std::string truncated;      ///< the text that did not fit; empty: nothing was cut
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Equal to the HF tokenizer with padding="max_length", truncation=True. max_length 0:
  /// model_max_length of the tokenizer's config. Invalid UTF-8 is replaced by U+FFFD.
  virtual Tokens encode(std::string_view prompt, int64_t max_length = 0) const = 0;
  virtual int64_t vocab_size() const = 0;  ///< largest id + 1
};

/// Opens a tokenizer folder (CLIPTokenizer: vocab.json + merges.txt; T5Tokenizer: spiece.model;
/// either: tokenizer.json). `class_name` is model_index.json's ("CLIPTokenizer", "T5Tokenizer",
/// "T5TokenizerFast", ...).
std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& folder,
                                          std::string_view class_name);

}  // namespace t2v::text
