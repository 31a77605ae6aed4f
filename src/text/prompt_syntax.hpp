// SPDX-License-Identifier: Apache-2.0
// Weights inside a prompt, in the syntax of AUTOMATIC1111's web UI (modules/prompt_parser.py parse_prompt_attention),
// which most tools read: (word:1.3), (word) = 1.1, [word] = 1/1.1, nested brackets multiply, \( is a bracket of the
// text, BREAK begins a new chunk of tokens.
//
// diffusers reads a prompt as it stands, and seeds promise its videos; so a prompt is read for weights only when it
// says so: automatic = it holds at least one (text:number). `a cat (cute)` stays what it was.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace t2v::text {

enum class PromptSyntax {
  automatic,  ///< weighted if the prompt holds a (text:number), else literal; any length
  plain,      ///< literal, and cut at the length of the text encoder: what diffusers does with every prompt
  weighted,   ///< brackets are always syntax
};
/// "auto", "plain", "weighted", or empty for auto. Throws Error{usage}.
PromptSyntax prompt_syntax(std::string_view name);

struct PromptPart {
  std::string text;
  double weight = 1.0;
  bool begins_chunk = false;  ///< a BREAK stood before it
  bool operator==(const PromptPart&) const = default;
};

/// Never empty; an empty prompt is one empty part. Neighbours of one weight are one part. Brackets that are never
/// closed count to the end, closing ones that were never opened are text. Throws Error{usage} for a weight beyond
/// +-100.
std::vector<PromptPart> parse_prompt(std::string_view prompt, PromptSyntax syntax);

/// Whether brackets of this prompt are syntax.
bool is_weighted(std::string_view prompt, PromptSyntax syntax);

}  // namespace t2v::text
