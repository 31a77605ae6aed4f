// SPDX-License-Identifier: Apache-2.0
#include "text/prompt_syntax.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "core/text.hpp"
#include "t2v/error.hpp"

namespace t2v::text {

namespace {

constexpr double kRound = 1.1, kSquare = 1 / 1.1;  // a pair of brackets without a number
constexpr double kMaxWeight = 100;                 // beyond, states overflow and nothing is left to see
constexpr size_t kMaxDepth = 100;                  // brackets inside brackets; deeper ones are text

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_word(char c) {
  return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80);
}

/// ":1.3)" at the start of `text`, blanks allowed around the number: its value and how many bytes it takes.
struct Weight {
  double value;
  size_t bytes;
};
std::optional<Weight> weight_at(std::string_view text) {
  if (!text.starts_with(':')) return std::nullopt;
  size_t at = 1;
  while (at < text.size() && is_blank(text[at])) ++at;
  if (at < text.size() && text[at] == '+') ++at;  // from_chars knows no plus
  const size_t begin = at;
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data() + begin, text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc{} || !std::isfinite(value)) return std::nullopt;
  at = static_cast<size_t>(end - text.data());
  while (at < text.size() && is_blank(text[at])) ++at;
  if (at == text.size() || text[at] != ')') return std::nullopt;
  return Weight{value, at + 1};
}

class Parser {
 public:
  std::vector<PromptPart> parse(std::string_view prompt) {
    while (!prompt.empty()) prompt.remove_prefix(take(prompt));
    flush();
    for (const size_t from : round_) multiply(from, kRound);
    for (const size_t from : square_) multiply(from, kSquare);
    return merged();
  }

  bool has_explicit_weight() const { return has_explicit_weight_; }

 private:
  /// Reads one element at the start of `text`; gives its length.
  size_t take(std::string_view text) {
    constexpr std::string_view kEscaped = "()[]\\";
    const char c = text.front();
    if (c == '\\') {
      const bool escapes = text.size() > 1 && kEscaped.find(text[1]) != kEscaped.npos;
      if (escapes) pending_ += text[1];
      last_ = c;
      return escapes ? 2 : 1;  // a lone backslash is dropped
    }
    if ((c == '(' || c == '[') && round_.size() + square_.size() < kMaxDepth) {
      flush();
      (c == '(' ? round_ : square_).push_back(parts_.size());
      return 1;
    }
    if (const auto weight = weight_at(text); weight && !round_.empty()) {
      has_explicit_weight_ = true;
      close(round_, weight->value);
      return weight->bytes;
    }
    if ((c == ')' && !round_.empty()) || (c == ']' && !square_.empty())) {
      c == ')' ? close(round_, kRound) : close(square_, kSquare);
      return 1;
    }
    if (const size_t bytes = break_at(text)) {
      flush();
      begins_chunk_ = true;
      return bytes;
    }
    pending_ += c;
    last_ = c;
    return 1;
  }

  /// The word BREAK with the blanks around it; 0: something else stands here.
  size_t break_at(std::string_view text) const {
    constexpr std::string_view kBreak = "BREAK";
    if (is_blank(last_) && is_blank(text.front())) return 0;  // the first blank of the run has looked already
    if (is_word(last_) && !is_blank(text.front())) return 0;
    size_t at = 0;
    while (at < text.size() && is_blank(text[at])) ++at;
    if (!text.substr(at).starts_with(kBreak)) return 0;
    at += kBreak.size();
    if (at < text.size() && is_word(text[at])) return 0;
    while (at < text.size() && is_blank(text[at])) ++at;
    return at;
  }

  void flush() {
    last_ = '\0';
    if (pending_.empty() && !begins_chunk_) return;
    parts_.push_back({std::exchange(pending_, {}), 1.0, std::exchange(begins_chunk_, false)});
  }

  void close(std::vector<size_t>& brackets, double factor) {
    flush();
    multiply(brackets.back(), factor);
    brackets.pop_back();
  }

  void multiply(size_t from, double factor) {
    for (size_t i = from; i < parts_.size(); ++i) parts_[i].weight *= factor;
  }

  std::vector<PromptPart> merged() const {
    std::vector<PromptPart> out;
    for (const PromptPart& part : parts_) {
      if (!out.empty() && !part.begins_chunk && out.back().weight == part.weight) {
        out.back().text += part.text;
      } else {
        out.push_back(part);
      }
    }
    if (out.empty()) out.push_back({});
    return out;
  }

  std::vector<PromptPart> parts_;
  std::vector<size_t> round_, square_;  // the part that each open bracket begins before
  std::string pending_;
  char last_ = '\0';  // of the text; 0 after a bracket
  bool begins_chunk_ = false, has_explicit_weight_ = false;
};

std::string shown(double weight) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), weight, std::chars_format::general, 6).ptr;
  return {text.data(), end};
}

}  // namespace

PromptSyntax prompt_syntax(std::string_view name) {
  if (name.empty() || name == "auto") return PromptSyntax::automatic;
  if (name == "plain") return PromptSyntax::plain;
  if (name == "weighted") return PromptSyntax::weighted;
  throw Error(ErrorCode::usage,
              "bad value: --prompt-syntax: wanted auto, plain or weighted, got '" + std::string(name) + "'");
}

bool is_weighted(std::string_view prompt, PromptSyntax syntax) {
  if (syntax != PromptSyntax::automatic) return syntax == PromptSyntax::weighted;
  Parser parser;
  parser.parse(prompt);
  return parser.has_explicit_weight();
}

std::vector<PromptPart> parse_prompt(std::string_view prompt, PromptSyntax syntax) {
  if (!is_weighted(prompt, syntax)) return {PromptPart{.text = std::string(prompt)}};
  auto parts = Parser().parse(prompt);
  for (const PromptPart& part : parts) {
    if (std::abs(part.weight) <= kMaxWeight) continue;  // false for NaN
    throw Error(ErrorCode::usage, "prompt: wanted weights from -100 to 100, got " + shown(part.weight),
                "a backslash before a bracket makes it part of the text");
  }
  return parts;
}

}  // namespace t2v::text
