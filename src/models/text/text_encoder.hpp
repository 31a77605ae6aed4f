// SPDX-License-Identifier: Apache-2.0
// From a prompt to the conditioning of a diffusion model: the `tokenizer` and `text_encoder`
// components of a checkpoint. Families call encode(); what they do with the states is theirs.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "io/checkpoint.hpp"
#include "tensor/placement.hpp"
#include "text/tokenizer.hpp"

namespace t2v::models::text {

struct TextEmbedding {
  at::Tensor hidden;         // [1, L, D], dtype and device of the placement
  t2v::text::Tokens tokens;  // what was encoded
};

struct EncodeOptions {
  int64_t clip_skip = 0;   // diffusers meaning; CLIP only
  int64_t max_length = 0;  // 0: model_max_length of the tokenizer's config
  bool use_mask =
      false;  // keep padding out of the attention; true as well if the encoder's config says so
};

class TextNetwork;

/// Immutable after construction; encode() may be called from several threads.
class TextEncoder {
 public:
  /// Classes: CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel, UMT5EncoderModel. Throws
  /// Error{unsupported} for others, Error{bad_input} for files that don't fit their config.
  TextEncoder(const io::Component& tokenizer, const io::Component& encoder,
              const Placement& placement);
  ~TextEncoder();

  /// Cuts a prompt that is too long, with a warning that shows what was cut. Throws
  /// Error{bad_input} when the tokenizer gives an id that the encoder has no row for, Error{usage}
  /// on a clip_skip that this encoder can't do.
  TextEmbedding encode(std::string_view prompt, int64_t clip_skip = 0) const;
  TextEmbedding encode(std::string_view prompt, const EncodeOptions& options) const;

  int64_t width() const;  ///< D

 private:
  Placement placement_;
  std::unique_ptr<t2v::text::Tokenizer> tokenizer_;
  std::unique_ptr<TextNetwork> network_;
};

/// Parameters of the network that the component's config describes; reads no weights.
int64_t count_parameters(const io::Component& encoder);

}  // namespace t2v::models::text
