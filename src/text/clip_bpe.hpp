// SPDX-License-Identifier: Apache-2.0
// CLIP's byte-pair tokenizer (Radford et al. 2021; bytes mapped to letters as in GPT-2), equal to
// CLIPTokenizer of transformers 5.23: NFC, white space collapsed, lower case, a split by Unicode
// classes, merges by rank, and begin + tokens + end + padding.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/added_vocabulary.hpp"
#include "text/settings.hpp"
#include "text/tokenizer.hpp"

namespace t2v::text {

/// Immutable after construction; encode() may be called from several threads.
class ClipBpe final : public Tokenizer {
 public:
  using Vocabulary = std::vector<std::pair<std::string, int64_t>>;  // token and id
  using Merges = std::vector<std::pair<std::string, std::string>>;  // in rank order

  /// Reads tokenizer.json when it is there (like transformers), else vocab.json and merges.txt. Without vocab.json the
  /// ids are those that CLIP gave to these merges.
  static std::unique_ptr<ClipBpe> open(const std::filesystem::path& folder);

  /// `where` names the source in messages. Throws Error{bad_input}.
  ClipBpe(const Vocabulary& vocabulary, const Merges& merges, const TokenizerSettings& settings,
          const std::string& where);

  /// GPT-2's letters for bytes: printable Latin-1 stands for itself, the rest for U+0100 on, in
  /// order.
  static std::array<std::string, 256> byte_letters();

  Tokens encode(std::string_view prompt, int64_t max_length = 0) const override;
  int64_t vocab_size() const override { return vocab_size_; }
  std::vector<int64_t> pieces(std::string_view text) const override;
  Frame frame() const override;

 private:
  std::vector<int64_t> ids_of(std::string_view prompt, int64_t& unknown) const;
  struct Merge {
    uint32_t rank;
    int32_t id;
  };

  int32_t require_id(const std::string& token, const std::string& role) const;
  void append_words(std::string_view text, std::vector<int64_t>& ids, int64_t& unknown) const;
  void append_word(std::string_view word, std::vector<int64_t>& ids, int64_t& unknown) const;
  void merge(std::vector<int32_t>& symbols) const;
  std::string decode(const std::vector<int64_t>& ids, size_t from) const;

  std::string where_;
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_map<int32_t, std::string> tokens_;
  std::unordered_map<uint64_t, Merge> merges_;         // key: left id << 32 | right id
  std::array<int32_t, 256> byte_ids_, last_byte_ids_;  // -1: not in the vocabulary
  std::unique_ptr<AddedVocabulary> added_;
  int32_t bos_ = 0, eos_ = 0, unk_ = -1, pad_ = -1;  // -1: none
  int64_t vocab_size_ = 0;
  int64_t model_max_length_ = 0;
};

}  // namespace t2v::text
