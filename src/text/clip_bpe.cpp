// SPDX-License-Identifier: Apache-2.0
#include "text/clip_bpe.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <queue>
#include <tuple>

#include "core/log.hpp"
#include "core/text.hpp"
#include "io/json_error.hpp"
#include "t2v/error.hpp"
#include "text/unicode.hpp"

namespace t2v::text {

namespace {

constexpr std::string_view kWordEnd = "</w>";
constexpr int64_t kClipLength = 77;  // every published CLIP text encoder; used when no tokenizer_config.json says it

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::bad_input, "bad tokenizer: " + where + ": " + what);
}

std::string normalize(std::string_view text) { return lower(collapse_spaces(nfc(text))); }

enum class Class { space, letter, number, other };

Class class_of(char32_t code_point) {
  if (is_letter(code_point)) return Class::letter;
  if (is_number(code_point)) return Class::number;
  return is_space(code_point) ? Class::space : Class::other;
}

/// Length of the run of `wanted` at the start of `text`.
size_t run_length(std::string_view text, Class wanted) {
  size_t at = 0;
  while (at < text.size()) {
    const CodePoint point = first_code_point(text.substr(at));
    if (class_of(point.value) != wanted) break;
    at += point.bytes;
  }
  return at;
}

/// Length of the next word of CLIP's pattern
///   <|startoftext|> | <|endoftext|> | 's | 't | 're | 've | 'm | 'll | 'd | \p{L}+ | \p{N} |
///   [^\s\p{L}\p{N}]+
/// at the start of `text`; for white space, which is no word, the length of its run.
size_t word_length(std::string_view text) {
  for (const std::string_view word :
       {"<|startoftext|>", "<|endoftext|>", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.starts_with(word)) return word.size();
  }
  const CodePoint point = first_code_point(text);
  const Class kind = class_of(point.value);
  return kind == Class::number ? point.bytes : run_length(text, kind);
}

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

std::array<std::string, 256> ClipBpe::byte_letters() {
  std::array<std::string, 256> letters;
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    append_utf8(letters[byte], printable ? byte : next++);
  }
  return letters;
}

ClipBpe::ClipBpe(const Vocabulary& vocabulary, const Merges& merges, const TokenizerSettings& settings,
                 const std::string& where)
    : where_(where), model_max_length_(settings.model_max_length) {
  ids_.reserve(vocabulary.size());
  for (const auto& [token, id] : vocabulary) {
    if (id < 0 || id > std::numeric_limits<int32_t>::max()) {
      fail(where, "'" + io::printable(token, 40) + "': the id " + std::to_string(id) + " is out of range");
    }
    if (!ids_.emplace(token, static_cast<int32_t>(id)).second) {
      fail(where, "'" + io::printable(token, 40) + "' appears twice");
    }
    if (!tokens_.emplace(static_cast<int32_t>(id), token).second) {
      fail(where, "the id " + std::to_string(id) + " appears twice");
    }
    vocab_size_ = std::max(vocab_size_, id + 1);
  }
  merges_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const std::string role = "merge " + std::to_string(rank);
    merges_.insert_or_assign(pair_key(require_id(left, role), require_id(right, role)),
                             Merge{static_cast<uint32_t>(rank), require_id(left + right, role)});
  }
  const auto letters = byte_letters();
  const auto id_or_none = [&](const std::string& token) {
    const auto it = ids_.find(token);
    return it == ids_.end() ? -1 : it->second;
  };
  for (size_t byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = id_or_none(letters[byte]);
    last_byte_ids_[byte] = id_or_none(letters[byte] + std::string(kWordEnd));
  }

  const auto find = [&](const std::string& token) -> std::optional<int64_t> {
    const int32_t id = id_or_none(token);
    return id < 0 ? std::nullopt : std::optional<int64_t>(id);
  };
  // New tokens are numbered from the count of the vocabulary, even if its ids have gaps (tokenizers
  // does so).
  added_ =
      std::make_unique<AddedVocabulary>(tokens_to_add(settings, settings.extra.value_or(std::vector<NamedToken>{})),
                                        find, static_cast<int64_t>(vocabulary.size()), normalize);
  for (const auto& [id, token] : added_->by_id()) {
    vocab_size_ = std::max(vocab_size_, id + 1);
  }
  const auto named_id = [&](const std::optional<NamedToken>& token) {
    if (!token) return -1;
    const auto id = added_->find(token->content);
    return id ? static_cast<int32_t>(*id) : id_or_none(token->content);
  };
  if (!settings.named.bos || !settings.named.eos) fail(where, "no bos_token or no eos_token");
  bos_ = named_id(settings.named.bos);
  eos_ = named_id(settings.named.eos);
  pad_ = named_id(settings.named.pad);
  unk_ = settings.named.unk ? id_or_none(settings.named.unk->content) : -1;
}

int32_t ClipBpe::require_id(const std::string& token, const std::string& role) const {
  const auto it = ids_.find(token);
  if (it == ids_.end()) fail(where_, role + ": '" + io::printable(token, 40) + "' is not in the vocabulary");
  return it->second;
}

std::vector<int64_t> ClipBpe::ids_of(std::string_view prompt, int64_t& unknown) const {
  const std::string valid = replace_invalid_utf8(prompt);
  if (valid != prompt) log::warn("prompt: bytes that are not UTF-8 were replaced by U+FFFD");
  std::vector<int64_t> ids;
  for (const auto& part : added_->split(valid)) {
    if (part.id) {
      ids.push_back(*part.id);
    } else {
      append_words(part.text, ids, unknown);
    }
  }
  return ids;
}

std::vector<int64_t> ClipBpe::pieces(std::string_view text) const {
  int64_t unknown = 0;
  return ids_of(text, unknown);
}

Tokenizer::Frame ClipBpe::frame() const {
  const auto comma = ids_.find("," + std::string(kWordEnd));
  return {.begin = bos_,
          .end = eos_,
          .pad = pad_,
          .comma = comma == ids_.end() ? -1 : comma->second,
          .length = model_max_length_ > 0 ? model_max_length_ : kClipLength};
}

Tokens ClipBpe::encode(std::string_view prompt, int64_t max_length) const {
  if (max_length == 0) max_length = model_max_length_ > 0 ? model_max_length_ : kClipLength;
  if (max_length < 2) {
    throw Error(ErrorCode::usage,
                "prompt: wanted room for at least 2 tokens, got a limit of " + std::to_string(max_length));
  }
  Tokens out;
  const std::vector<int64_t> ids = ids_of(prompt, out.unknown);
  const size_t kept = std::min(ids.size(), static_cast<size_t>(max_length - 2));
  if (kept < ids.size()) out.truncated = decode(ids, kept);
  if (kept + 2 < static_cast<size_t>(max_length) && pad_ < 0) fail(where_, "no pad_token");
  out.ids.reserve(static_cast<size_t>(max_length));
  out.ids.push_back(bos_);
  out.ids.insert(out.ids.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(kept));
  out.ids.push_back(eos_);
  out.mask.assign(out.ids.size(), 1);
  out.ids.resize(static_cast<size_t>(max_length), pad_);
  out.mask.resize(static_cast<size_t>(max_length), 0);
  return out;
}

void ClipBpe::append_words(std::string_view text, std::vector<int64_t>& ids, int64_t& unknown) const {
  while (!text.empty()) {
    std::string_view word = text.substr(0, word_length(text));
    text.remove_prefix(word.size());
    if (class_of(first_code_point(word).value) == Class::space) continue;
    if (word == "<|startoftext|>" || word == "<|endoftext|>") {
      // The byte-level splitter behind the pattern cuts the two bracketed words at the class
      // borders again.
      append_word(word.substr(0, 2), ids, unknown);
      append_word(word.substr(2, word.size() - 4), ids, unknown);
      word = word.substr(word.size() - 2);
    }
    append_word(word, ids, unknown);
  }
}

void ClipBpe::append_word(std::string_view word, std::vector<int64_t>& ids, int64_t& unknown) const {
  std::vector<int32_t> symbols;
  symbols.reserve(word.size());
  for (size_t i = 0; i < word.size(); ++i) {
    const auto& table = i + 1 == word.size() ? last_byte_ids_ : byte_ids_;
    int32_t id = table[static_cast<unsigned char>(word[i])];
    if (id < 0) {
      if (unk_ < 0) fail(where_, "a byte of the prompt is not in the vocabulary, and there is no unk_token");
      id = unk_;
      ++unknown;
    }
    symbols.push_back(id);
  }
  merge(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

/// Applies the pair of the lowest rank, the leftmost first, until none is left: O(n log n) with a
/// linked list over the symbols and a queue of the pairs seen.
void ClipBpe::merge(std::vector<int32_t>& symbols) const {
  struct Candidate {
    uint32_t rank;
    size_t at;
    int32_t id;
    bool operator>(const Candidate& other) const { return std::tie(rank, at) > std::tie(other.rank, other.at); }
  };
  constexpr size_t kNone = std::numeric_limits<size_t>::max();
  constexpr int32_t kGone = -1;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  std::vector<size_t> previous(symbols.size()), next(symbols.size());
  for (size_t i = 0; i < symbols.size(); ++i) {
    previous[i] = i == 0 ? kNone : i - 1;
    next[i] = i + 1 == symbols.size() ? kNone : i + 1;
  }
  const auto offer = [&](size_t at) {
    if (at == kNone || next[at] == kNone) return;
    const auto it = merges_.find(pair_key(symbols[at], symbols[next[at]]));
    if (it != merges_.end()) queue.push({it->second.rank, at, it->second.id});
  };
  for (size_t i = 0; i < symbols.size(); ++i) {
    offer(i);
  }
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    const size_t right = next[top.at];
    if (symbols[top.at] == kGone || right == kNone) continue;
    const auto it = merges_.find(pair_key(symbols[top.at], symbols[right]));
    if (it == merges_.end() || it->second.id != top.id) continue;  // an earlier merge took one of the two
    symbols[top.at] = top.id;
    symbols[right] = kGone;
    next[top.at] = next[right];
    if (next[right] != kNone) previous[next[right]] = top.at;
    offer(previous[top.at]);
    offer(top.at);
  }
  std::erase(symbols, kGone);
}

std::string ClipBpe::decode(const std::vector<int64_t>& ids, size_t from) const {
  static const auto kBytes = [] {
    std::unordered_map<std::string, char> bytes;
    const auto letters = byte_letters();
    for (size_t i = 0; i < 256; ++i) {
      bytes.emplace(letters[i], static_cast<char>(i));
    }
    return bytes;
  }();
  std::string out;
  for (size_t i = from; i < ids.size(); ++i) {
    if (const auto added = added_->by_id().find(ids[i]); added != added_->by_id().end()) {
      out += added->second.content + ' ';
      continue;
    }
    const auto known = tokens_.find(static_cast<int32_t>(ids[i]));
    std::string_view token = known == tokens_.end() ? std::string_view() : known->second;
    const bool ends = token.ends_with(kWordEnd);
    if (ends) token.remove_suffix(kWordEnd.size());
    while (!token.empty()) {
      const size_t bytes = std::min(first_code_point(token).bytes, token.size());
      const auto byte = kBytes.find(std::string(token.substr(0, bytes)));
      if (byte != kBytes.end()) out += byte->second;
      token.remove_prefix(bytes);
    }
    if (ends) out += ' ';
  }
  while (out.ends_with(' ')) {
    out.pop_back();
  }
  return replace_invalid_utf8(out);
}

}  // namespace t2v::text
