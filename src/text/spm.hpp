// SPDX-License-Identifier: Apache-2.0
// T5's tokenizer, equal to T5Tokenizer (= T5TokenizerFast) of transformers 5.23: the model file's
// normalisation, a split at white space, unigram pieces of each word, the end token, padding. The
// unknown token has id 2, one for each run of unknown characters, whatever the file says about byte
// fallback.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_vocabulary.hpp"
#include "text/charsmap.hpp"
#include "text/settings.hpp"
#include "text/tokenizer.hpp"
#include "text/unigram.hpp"

namespace t2v::text {

/// Immutable after construction; encode() may be called from several threads.
class SpmTokenizer final : public Tokenizer {
 public:
  /// Reads tokenizer.json when it is there (like transformers), else spiece.model.
  static std::unique_ptr<SpmTokenizer> open(const std::filesystem::path& folder);

  /// `extra`: tokens to find in the prompt besides those of the settings. `charsmap`: empty = no
  /// normalisation.
  SpmTokenizer(Unigram::Pieces pieces, const std::string& charsmap, const TokenizerSettings& settings,
               const std::vector<NamedToken>& extra, const std::string& where);

  Tokens encode(std::string_view prompt, int64_t max_length = 0) const override;
  int64_t vocab_size() const override { return vocab_size_; }
  std::vector<int64_t> pieces(std::string_view text) const override;
  Frame frame() const override;

 private:
  struct Token {
    int64_t id;
    std::string text;  // "▁" for a space in front
  };

  std::vector<Token> tokens_of(std::string_view prompt) const;
  void append_words(std::string_view text, std::vector<Token>& tokens) const;
  void append_pieces(std::string_view word, std::vector<Token>& tokens) const;

  std::string where_;
  Unigram unigram_;
  std::optional<Charsmap> charsmap_;
  std::unique_ptr<AddedVocabulary> added_;
  int64_t eos_ = -1, pad_ = -1;  // -1: none
  int64_t vocab_size_ = 0;
  int64_t model_max_length_ = 0;
};

}  // namespace t2v::text
