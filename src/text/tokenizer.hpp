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

  /// The ids of a piece of a prompt alone: no begin, end or padding, of any length.
  virtual std::vector<int64_t> pieces(std::string_view text) const = 0;
  /// What encode() puts around them. -1: this tokenizer has none.
  struct Frame {
    int64_t begin = -1, end = -1, pad = -1;
    int64_t comma = -1;  ///< the token of a comma that ends a word; only where prompts are read in chunks
    int64_t length = 0;  ///< max_length when none is given
  };
  virtual Frame frame() const = 0;
};

/// Opens a tokenizer folder (CLIPTokenizer: vocab.json + merges.txt; T5Tokenizer: spiece.model;
/// either: tokenizer.json). `class_name` is model_index.json's ("CLIPTokenizer", "T5Tokenizer",
/// "T5TokenizerFast", ...).
std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& folder, std::string_view class_name);

}  // namespace t2v::text
