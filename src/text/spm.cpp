// SPDX-License-Identifier: Apache-2.0
#include "text/spm.hpp"

#include <algorithm>
#include <utility>

#include "core/log.hpp"
#include "core/text.hpp"
#include "t2v/error.hpp"
#include "text/unicode.hpp"

namespace t2v::text {

namespace {

constexpr std::string_view kSpaceMark = "\u2581";  // SentencePiece's sign for a space
constexpr size_t kUnknownId = 2;                   // fixed by T5Tokenizer, whatever the model file says
constexpr int64_t kT5Length = 512;                 // T5's training length; used when no tokenizer_config.json says it

}  // namespace

SpmTokenizer::SpmTokenizer(Unigram::Pieces pieces, const std::string& charsmap, const TokenizerSettings& settings,
                           const std::vector<NamedToken>& extra, const std::string& where)
    : where_(where),
      unigram_(std::move(pieces), kUnknownId, where),
      vocab_size_(static_cast<int64_t>(unigram_.size())),
      model_max_length_(settings.model_max_length) {
  if (!charsmap.empty()) charsmap_.emplace(charsmap, where);
  const auto find = [&](const std::string& token) -> std::optional<int64_t> {
    const int64_t id = unigram_.find(token);
    return id < 0 ? std::nullopt : std::optional<int64_t>(id);
  };
  const auto normalize = [this](std::string_view text) {
    return charsmap_ ? charsmap_->normalize(text) : std::string(text);
  };
  added_ = std::make_unique<AddedVocabulary>(tokens_to_add(settings, extra), find, vocab_size_, normalize);
  for (const auto& [id, token] : added_->by_id()) {
    vocab_size_ = std::max(vocab_size_, id + 1);
  }
  const auto named_id = [&](const std::optional<NamedToken>& token) {
    if (!token) return int64_t{-1};
    return added_->find(token->content).value_or(unigram_.find(token->content));
  };
  eos_ = named_id(settings.named.eos);
  pad_ = named_id(settings.named.pad);
  if (eos_ < 0) throw Error(ErrorCode::bad_input, "bad tokenizer: " + where + ": no eos_token");
}

std::vector<SpmTokenizer::Token> SpmTokenizer::tokens_of(std::string_view prompt) const {
  const std::string valid = replace_invalid_utf8(prompt);
  if (valid != prompt) log::warn("prompt: bytes that are not UTF-8 were replaced by U+FFFD");
  std::vector<Token> tokens;
  for (const auto& part : added_->split(valid)) {
    if (part.id) {
      tokens.push_back({*part.id, ' ' + added_->by_id().at(*part.id).content});
    } else {
      append_words(part.text, tokens);
    }
  }
  return tokens;
}

std::vector<int64_t> SpmTokenizer::pieces(std::string_view text) const {
  std::vector<int64_t> ids;
  for (const Token& token : tokens_of(text)) ids.push_back(token.id);
  return ids;
}

Tokenizer::Frame SpmTokenizer::frame() const {
  return {.end = eos_, .pad = pad_, .length = model_max_length_ > 0 ? model_max_length_ : kT5Length};
}

Tokens SpmTokenizer::encode(std::string_view prompt, int64_t max_length) const {
  if (max_length == 0) max_length = model_max_length_ > 0 ? model_max_length_ : kT5Length;
  if (max_length < 1) {
    throw Error(ErrorCode::usage,
                "prompt: wanted room for at least 1 token, got a limit of " + std::to_string(max_length));
  }
  Tokens out;
  for (const Token& token : tokens_of(prompt)) {
    const bool kept = out.ids.size() + 1 < static_cast<size_t>(max_length);
    if (kept) {
      out.ids.push_back(token.id);
    } else {
      out.truncated += token.text.starts_with(kSpaceMark) ? ' ' + token.text.substr(kSpaceMark.size()) : token.text;
    }
    if (token.id == static_cast<int64_t>(kUnknownId)) ++out.unknown;
  }
  if (out.truncated.starts_with(' ')) out.truncated.erase(0, 1);
  out.ids.push_back(eos_);
  if (out.ids.size() < static_cast<size_t>(max_length) && pad_ < 0) {
    throw Error(ErrorCode::bad_input, "bad tokenizer: " + where_ + ": no pad_token");
  }
  out.mask.assign(out.ids.size(), 1);
  out.ids.resize(static_cast<size_t>(max_length), pad_);
  out.mask.resize(static_cast<size_t>(max_length), 0);
  return out;
}

/// Words between white space, each with the space mark in front; a mark inside a word begins a new
/// one.
void SpmTokenizer::append_words(std::string_view text, std::vector<Token>& tokens) const {
  std::string word;
  const auto flush = [&] {
    if (!word.empty()) append_pieces(word, tokens);
    word.clear();
  };
  bool between = true;  // no character of the next word seen yet
  while (!text.empty()) {
    const CodePoint point = first_code_point(text);
    const std::string_view character = text.substr(0, point.bytes);
    text.remove_prefix(point.bytes);
    if (is_space(point.value)) {
      flush();
      between = true;
      continue;
    }
    if (character == kSpaceMark) {
      flush();
    } else if (between) {
      word = kSpaceMark;
    }
    between = false;
    word += character;
  }
  flush();
}

void SpmTokenizer::append_pieces(std::string_view word, std::vector<Token>& tokens) const {
  for (const auto& piece : unigram_.encode(word)) {
    tokens.push_back({piece.id, std::string(piece.text)});
  }
}

}  // namespace t2v::text
