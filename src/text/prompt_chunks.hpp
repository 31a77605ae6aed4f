// SPDX-License-Identifier: Apache-2.0
// A prompt of any length and with weights, as the chunks that a text encoder of limited length reads one by one.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/prompt_syntax.hpp"
#include "text/tokenizer.hpp"

namespace t2v::text {

struct PromptChunk {
  std::vector<int64_t> ids;    ///< [L]: begin + tokens + end + padding
  std::vector<uint8_t> mask;   ///< [L], 1 = a real token
  std::vector<float> weights;  ///< [L], 1 for all but the prompt's own tokens
  bool has_weights = false;    ///< some weight is not 1
};

/// Chunks as AUTOMATIC1111's web UI makes them (modules/sd_hijack_clip.py tokenize_line): 75 tokens each where the
/// encoder has 77 places; one that would end inside a phrase ends after the comma before it, if that is at most 20
/// tokens back. Never empty. Only for tokenizers with a begin and an end.
std::vector<PromptChunk> chunk_prompt(const Tokenizer& tokenizer, const std::vector<PromptPart>& parts);

/// One chunk of `length` places (0: the tokenizer's); what does not fit is left out, `left_out` counts it.
PromptChunk single_chunk(const Tokenizer& tokenizer, const std::vector<PromptPart>& parts, int64_t length,
                         int64_t& left_out);

}  // namespace t2v::text
