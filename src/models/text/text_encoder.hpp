// SPDX-License-Identifier: Apache-2.0
// From a prompt to the conditioning of a diffusion model: the `tokenizer` and `text_encoder`
// components of a checkpoint. Families call encode(); what they do with the states is theirs.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/checkpoint.hpp"
#include "tensor/placement.hpp"
#include "tensor/weights.hpp"
#include "text/prompt_chunks.hpp"
#include "text/prompt_syntax.hpp"
#include "text/tokenizer.hpp"

namespace t2v::models::text {

struct TextEmbedding {
  at::Tensor hidden;         // [1, L, D], dtype and device of the placement; fp32 where only that holds the values
  t2v::text::Tokens tokens;  // what was encoded
};

struct EncodeOptions {
  int64_t clip_skip = 0;   // diffusers meaning; CLIP only
  int64_t max_length = 0;  // 0: model_max_length of the tokenizer's config
  bool use_mask = false;   // keep padding out of the attention; true as well if the encoder's config says so
};

/// One of the texts of a run.
struct PromptText {
  std::string text;
  int64_t clip_skip = 0;  // diffusers meaning; CLIP only
};

class TextNetwork;

/// Immutable after construction; encode() may be called from several threads.
class TextEncoder {
 public:
  /// Classes: CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel, UMT5EncoderModel. Throws
  /// Error{unsupported} for others, Error{bad_input} for files that don't fit their config.
  /// `overlay` changes the weights while they load (see models/lora).
  TextEncoder(const io::Component& tokenizer, const io::Component& encoder, const Placement& placement,
              std::shared_ptr<const WeightOverlay> overlay = nullptr);
  ~TextEncoder();

  /// Cuts a prompt that is too long, with a warning that shows what was cut. Throws
  /// Error{bad_input} when the tokenizer gives an id that the encoder has no row for, Error{usage}
  /// on a clip_skip that this encoder can't do, Error{numbers} when the states are not finite, in
  /// fp32 either.
  TextEmbedding encode(std::string_view prompt, int64_t clip_skip = 0) const;
  TextEmbedding encode(std::string_view prompt, const EncodeOptions& options) const;

  /// Texts of any length, with weights where `syntax` says so, as one batch: [N, L, D]. CLIP reads a long one in chunks
  /// whose states lie one after the other on L; shorter texts get empty chunks. A text without weights that fits gives
  /// exactly encode()'s states. The weights multiply the states; CLIP's are then brought back to their mean before,
  /// chunk by chunk, as AUTOMATIC1111's web UI does (modules/sd_emphasis.py EmphasisOriginal); T5's, whose mean is near
  /// zero, are not (nor in sd_embed, embedding_funcs.py get_weighted_text_embeddings_sd3).
  at::Tensor encode_batch(std::span<const PromptText> texts, t2v::text::PromptSyntax syntax) const;

  int64_t width() const;  ///< D

 private:
  at::Tensor run(const std::vector<int64_t>& ids, const std::vector<uint8_t>& mask, const EncodeOptions& options) const;
  at::Tensor encode_chunk(const t2v::text::PromptChunk& chunk, int64_t clip_skip) const;
  std::vector<at::Tensor> encode_chunks(const PromptText& text, t2v::text::PromptSyntax syntax) const;

  Placement placement_;
  io::Component component_;  // kept with the overlay to load it once more, in fp32
  std::shared_ptr<const WeightOverlay> overlay_;
  std::unique_ptr<t2v::text::Tokenizer> tokenizer_;
  std::unique_ptr<TextNetwork> network_;
};

/// The names and shapes of a component's weight file, without reading data.
WeightStore header_store(const io::Component& encoder);

/// Parameters of the network that the component's config describes. Reads names and shapes only; throws
/// Error{bad_input} where they don't fit the config, or where the states are not `width` numbers wide, as the network
/// that attends to them wants.
int64_t count_parameters(const io::Component& encoder, int64_t width);

}  // namespace t2v::models::text
