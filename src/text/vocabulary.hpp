// SPDX-License-Identifier: Apache-2.0
// The world of a small model: which words of a prompt it was trained on. Large models have no such list.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace t2v::text {

struct Vocabulary {
  std::set<std::string, std::less<>> known;    ///< words that change the video, lower case: "red", "红色"
  std::set<std::string, std::less<>> ignored;  ///< words that any sentence may hold: "the", "一个"
  std::string note;                            ///< what the model knows, as the end of a sentence
};

/// What of a prompt lies outside a vocabulary. Words are runs of letters, compared without case; a plural is its
/// singular. Chinese has no spaces: the longest words of the vocabulary are taken out, what stays is unknown.
struct Reading {
  std::vector<std::string> unknown;  ///< in the prompt's order, each once
  bool any_known = false;
};
Reading read_prompt(const Vocabulary& vocabulary, std::string_view prompt);

/// One sentence for the user when a prompt names something outside the model's world, or nothing inside it; else empty.
/// An empty vocabulary knows everything.
std::string vocabulary_warning(const Vocabulary& vocabulary, std::string_view model, std::string_view prompt);

}  // namespace t2v::text
