// SPDX-License-Identifier: Apache-2.0
#include "text/unigram.hpp"

#include <algorithm>
#include <limits>

#include "t2v/error.hpp"
#include "text/unicode.hpp"

namespace t2v::text {

namespace {

// What an unknown character costs below the lowest score (SentencePiece's kUnkPenalty).
constexpr double kUnknownPenalty = 10.0;

unsigned char byte_at(std::string_view text, size_t at) { return static_cast<unsigned char>(text[at]); }

}  // namespace

Unigram::Unigram(Pieces pieces, size_t unk_id, const std::string& where) : pieces_(std::move(pieces)), unk_id_(unk_id) {
  if (unk_id_ >= pieces_.size()) {
    throw Error(ErrorCode::bad_input, "bad tokenizer: " + where + ": wanted more than " + std::to_string(unk_id_) +
                                          " pieces (the unknown one has that id), got " +
                                          std::to_string(pieces_.size()));
  }
  double lowest = std::numeric_limits<double>::infinity();
  ids_.reserve(pieces_.size());
  for (size_t id = 0; id < pieces_.size(); ++id) {
    ids_.insert_or_assign(pieces_[id].first, id);
    lowest = std::min(lowest, pieces_[id].second);
  }
  unknown_score_ = lowest - kUnknownPenalty;
  for (const auto& [text, id] : ids_) {
    if (!text.empty()) sorted_.push_back(id);
  }
  std::ranges::sort(sorted_, {}, [&](size_t id) -> std::string_view { return pieces_[id].first; });
  for (size_t begin = 0; begin < sorted_.size();) {
    const unsigned char first = byte_at(pieces_[sorted_[begin]].first, 0);
    size_t end = begin;
    while (end < sorted_.size() && byte_at(pieces_[sorted_[end]].first, 0) == first) {
      ++end;
    }
    by_first_byte_[first] = {begin, end};
    begin = end;
  }
}

int64_t Unigram::find(const std::string& text) const {
  const auto it = ids_.find(text);
  return it == ids_.end() ? -1 : static_cast<int64_t>(it->second);
}

/// Forward pass of Viterbi: for each byte position, the best way to reach it.
std::vector<Unigram::Node> Unigram::best_path(std::string_view word) const {
  std::vector<Node> nodes(word.size() + 1);
  for (size_t start = 0; start < word.size();) {
    const double score_here = nodes[start].score;
    const size_t character = first_code_point(word.substr(start)).bytes;
    const auto offer = [&](size_t length, size_t id, double score) {
      Node& node = nodes[start + length];
      if (node.start == kUnreached || score_here + score > node.score) node = {score_here + score, start, id};
    };
    bool has_character = false;
    auto [low, high] = by_first_byte_[byte_at(word, start)];
    // sorted_[low, high) are the pieces that begin with the `depth` bytes from start on; a piece of
    // just these is first.
    for (size_t depth = 1; low < high; ++depth) {
      if (pieces_[sorted_[low]].first.size() == depth) {
        offer(depth, sorted_[low], pieces_[sorted_[low]].second);
        has_character = has_character || depth == character;
        ++low;
      }
      if (start + depth == word.size()) break;
      const unsigned char wanted = byte_at(word, start + depth);
      const auto byte_of = [&](size_t id) { return byte_at(pieces_[id].first, depth); };
      const auto begin = sorted_.begin() + static_cast<std::ptrdiff_t>(low);
      const auto end = sorted_.begin() + static_cast<std::ptrdiff_t>(high);
      const auto first = std::ranges::lower_bound(begin, end, wanted, {}, byte_of);
      const auto last = std::ranges::upper_bound(first, end, wanted, {}, byte_of);
      low = static_cast<size_t>(first - sorted_.begin());
      high = static_cast<size_t>(last - sorted_.begin());
    }
    if (!has_character) offer(character, unk_id_, unknown_score_);
    start += character;
  }
  return nodes;
}

std::vector<Unigram::Piece> Unigram::encode(std::string_view word) const {
  const std::vector<Node> nodes = best_path(word);
  std::vector<Piece> out;
  size_t unknown_end = 0;  // end of the run of unknown characters being walked back over; 0: none
  const auto close_run = [&](size_t start) {
    if (unknown_end == 0) return;
    const std::string_view run = word.substr(start, unknown_end - start);
    const auto known = ids_.find(run);  // as the library does: the joined run is looked up once more
    out.push_back({static_cast<int64_t>(known == ids_.end() ? unk_id_ : known->second), run});
    unknown_end = 0;
  };
  for (size_t end = word.size(); end > 0;) {
    const Node& node = nodes[end];
    if (node.id == unk_id_) {
      if (unknown_end == 0) unknown_end = end;
    } else {
      close_run(end);
      out.push_back({static_cast<int64_t>(node.id), word.substr(node.start, end - node.start)});
    }
    end = node.start;
  }
  close_run(0);
  std::ranges::reverse(out);
  return out;
}

}  // namespace t2v::text
