// SPDX-License-Identifier: Apache-2.0
#include "text/prompt_chunks.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "t2v/error.hpp"

namespace t2v::text {

namespace {

constexpr size_t kCommaReach = 20;  // A1111's comma_padding_backtrack

struct WeightedIds {
  std::vector<int64_t> ids;
  std::vector<float> weights;

  size_t size() const { return ids.size(); }
  void add(int64_t id, float weight) {
    ids.push_back(id);
    weights.push_back(weight);
  }
  /// Takes the tokens from `from` on away.
  WeightedIds cut(size_t from) {
    const auto at = static_cast<std::ptrdiff_t>(from);
    WeightedIds rest{{ids.begin() + at, ids.end()}, {weights.begin() + at, weights.end()}};
    ids.resize(from);
    weights.resize(from);
    return rest;
  }
};

PromptChunk framed(const WeightedIds& tokens, const Tokenizer::Frame& frame, size_t length) {
  PromptChunk chunk;
  const auto add = [&](int64_t id, float weight, uint8_t is_real) {
    chunk.ids.push_back(id);
    chunk.weights.push_back(weight);
    chunk.mask.push_back(is_real);
    chunk.has_weights = chunk.has_weights || weight != 1.0F;
  };
  if (frame.begin >= 0) add(frame.begin, 1, 1);
  for (size_t i = 0; i < tokens.size(); ++i) add(tokens.ids[i], tokens.weights[i], 1);
  add(frame.end, 1, 1);
  while (chunk.ids.size() < length) add(frame.pad, 1, 0);
  return chunk;
}

/// Tokens that fit beside begin and end.
size_t room_in(const Tokenizer::Frame& frame, int64_t length) {
  const int64_t specials = frame.begin >= 0 ? 2 : 1;
  if (frame.end < 0 || frame.pad < 0 || length <= specials) {
    throw Error(ErrorCode::bad_input, "bad tokenizer: wanted an end and a padding token and room for one more, got " +
                                          std::to_string(length) + " places");
  }
  return static_cast<size_t>(length - specials);
}

class Chunker {
 public:
  explicit Chunker(const Tokenizer::Frame& frame) : frame_(frame), room_(room_in(frame, frame.length)) {}

  void add(int64_t id, float weight) {
    if (id == frame_.comma) {
      last_comma_ = current_.size();
    } else if (current_.size() == room_ && last_comma_ && current_.size() - *last_comma_ <= kCommaReach) {
      WeightedIds rest = current_.cut(*last_comma_ + 1);
      next();
      current_ = std::move(rest);
    }
    if (current_.size() == room_) next();
    current_.add(id, weight);
  }

  void next() {
    chunks_.push_back(framed(std::exchange(current_, {}), frame_, static_cast<size_t>(frame_.length)));
    last_comma_.reset();
  }

  std::vector<PromptChunk> finish() {
    if (current_.size() > 0 || chunks_.empty()) next();
    return std::move(chunks_);
  }

 private:
  Tokenizer::Frame frame_;
  size_t room_;
  WeightedIds current_;
  std::optional<size_t> last_comma_;
  std::vector<PromptChunk> chunks_;
};

}  // namespace

std::vector<PromptChunk> chunk_prompt(const Tokenizer& tokenizer, const std::vector<PromptPart>& parts) {
  Chunker chunker(tokenizer.frame());
  for (const PromptPart& part : parts) {
    if (part.begins_chunk) chunker.next();
    for (const int64_t id : tokenizer.pieces(part.text)) chunker.add(id, static_cast<float>(part.weight));
  }
  return chunker.finish();
}

PromptChunk single_chunk(const Tokenizer& tokenizer, const std::vector<PromptPart>& parts, int64_t length,
                         int64_t& left_out) {
  const Tokenizer::Frame frame = tokenizer.frame();
  if (length == 0) length = frame.length;
  const size_t room = room_in(frame, length);
  WeightedIds tokens;
  for (const PromptPart& part : parts) {
    for (const int64_t id : tokenizer.pieces(part.text)) tokens.add(id, static_cast<float>(part.weight));
  }
  left_out = tokens.size() > room ? static_cast<int64_t>(tokens.size() - room) : 0;
  if (left_out > 0) tokens.cut(room);
  return framed(tokens, frame, static_cast<size_t>(length));
}

}  // namespace t2v::text
