// SPDX-License-Identifier: Apache-2.0
#include "text/vocabulary.hpp"

#include <algorithm>

#include "core/text.hpp"
#include "text/unicode.hpp"

namespace t2v::text {

namespace {

constexpr size_t kNamed = 4;  // unknown words that a warning lists

/// Scripts written without spaces, and their punctuation left out: kana, the unified ideographs with their extensions.
bool is_unspaced(char32_t c) {
  return (c >= 0x3040 && c <= 0x30FF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x3FFFF);
}

class Reader {
 public:
  explicit Reader(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {
    for (const auto* words : {&vocabulary.known, &vocabulary.ignored}) {
      for (const std::string& word : *words) longest_ = std::max(longest_, word.size());
    }
  }

  Reading read(std::string_view prompt) && {
    const std::string text = lower(nfc(replace_invalid_utf8(prompt)));
    for (std::string_view rest = text; !rest.empty();) {
      const char32_t c = first_code_point(rest).value;
      const bool unspaced = is_unspaced(c);
      size_t length = 0;
      if (unspaced || is_letter(c)) length = run_length(rest, unspaced);
      if (length == 0) {
        rest.remove_prefix(first_code_point(rest).bytes);
        continue;
      }
      unspaced ? take_unspaced(rest.substr(0, length)) : take_word(rest.substr(0, length));
      rest.remove_prefix(length);
    }
    return std::move(reading_);
  }

 private:
  /// Bytes of the letters of one kind at the start of `text`.
  static size_t run_length(std::string_view text, bool unspaced) {
    size_t length = 0;
    while (length < text.size()) {
      const CodePoint next = first_code_point(text.substr(length));
      const bool apostrophe = !unspaced && length > 0 && (next.value == '\'' || next.value == 0x2019);
      if (!apostrophe && (is_unspaced(next.value) != unspaced || !is_letter(next.value))) break;
      length += next.bytes;
    }
    return length;
  }

  bool meets(std::string_view word) {
    if (vocabulary_.known.contains(word)) return reading_.any_known = true;
    return vocabulary_.ignored.contains(word);
  }

  void take_word(std::string_view word) {
    if (const size_t apostrophe = word.find_first_of("'\xE2"); apostrophe != std::string_view::npos && apostrophe > 0) {
      word = word.substr(0, apostrophe);  // "it's": what stands before tells enough
    }
    if (meets(word)) return;
    if (word.size() > 3 && word.ends_with('s') && meets(word.substr(0, word.size() - 1))) return;
    if (word.size() > 1) add_unknown(word);  // a single letter asks for nothing: "4k"
  }

  void take_unspaced(std::string_view run) {
    std::string unknown;
    while (!run.empty()) {
      size_t length = std::min(run.size(), longest_);
      while (length > 0 && !meets(run.substr(0, length))) --length;
      if (length == 0) {
        length = first_code_point(run).bytes;
        unknown += run.substr(0, length);
      } else if (!unknown.empty()) {
        add_unknown(unknown);
        unknown.clear();
      }
      run.remove_prefix(length);
    }
    if (!unknown.empty()) add_unknown(unknown);
  }

  void add_unknown(std::string_view word) {
    auto& list = reading_.unknown;
    if (std::find(list.begin(), list.end(), word) == list.end()) list.emplace_back(word);
  }

  const Vocabulary& vocabulary_;
  size_t longest_ = 0;
  Reading reading_;
};

}  // namespace

Reading read_prompt(const Vocabulary& vocabulary, std::string_view prompt) { return Reader(vocabulary).read(prompt); }

std::string vocabulary_warning(const Vocabulary& vocabulary, std::string_view model, std::string_view prompt) {
  if (vocabulary.known.empty()) return {};
  const Reading reading = read_prompt(vocabulary, prompt);
  if (reading.unknown.empty() && (reading.any_known || prompt.find_first_not_of(" \t\n") == std::string_view::npos))
    return {};
  const std::string known = vocabulary.note.empty() ? "" : "; it knows " + vocabulary.note;
  const std::string who = "the model " + std::string(model);
  if (reading.unknown.empty()) return "prompt: no word of it means anything to " + who + known;
  std::string words;
  for (size_t k = 0; k < std::min(kNamed, reading.unknown.size()); ++k) {
    words += (k ? ", '" : "'") + reading.unknown[k] + "'";
  }
  if (reading.unknown.size() > kNamed) words += " and " + std::to_string(reading.unknown.size() - kNamed) + " more";
  return "prompt: " + who + " was never shown " + words + known;
}

}  // namespace t2v::text
