// SPDX-License-Identifier: Apache-2.0
// Unigram language model segmentation (Kudo 2018): the split of a word into pieces with the largest
// sum of scores. Equal to `Unigram` of the tokenizers library (0.23), which T5Tokenizer of
// transformers 5.23 uses. It differs from the SentencePiece library in three ways, which is why
// that one is not used: scores add up in double precision, byte pieces are ordinary pieces (no byte
// fallback), and control pieces are found in the text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace t2v::text {

/// Immutable after construction; safe to share.
class Unigram {
 public:
  using Pieces = std::vector<std::pair<std::string, double>>;  // text and score; the index is the id

  /// Of pieces with equal text the last one counts. Throws Error{bad_input} when `unk_id` is
  /// outside the vocabulary.
  Unigram(Pieces pieces, size_t unk_id, const std::string& where);
  Unigram(const Unigram&) = delete;  // ids_ points into pieces_
  Unigram& operator=(const Unigram&) = delete;

  struct Piece {
    int64_t id;
    std::string_view text;  ///< part of the word
  };
  /// Pieces of `word` (valid UTF-8), in order. A run of unknown characters is one piece.
  std::vector<Piece> encode(std::string_view word) const;

  /// The id of a piece, or -1.
  int64_t find(const std::string& text) const;
  const std::string& text(size_t id) const { return pieces_[id].first; }
  size_t size() const { return pieces_.size(); }
  size_t unk_id() const { return unk_id_; }

 private:
  struct Node {
    double score = 0;
    size_t start = kUnreached;
    size_t id = 0;
  };
  static constexpr size_t kUnreached = static_cast<size_t>(-1);

  std::vector<Node> best_path(std::string_view word) const;

  Pieces pieces_;
  size_t unk_id_;
  double unknown_score_;
  std::unordered_map<std::string_view, size_t> ids_;            // views of pieces_
  std::vector<size_t> sorted_;                                  // ids by text, for prefix search
  std::array<std::pair<size_t, size_t>, 256> by_first_byte_{};  // range of sorted_
};

}  // namespace t2v::text
