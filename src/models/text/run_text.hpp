// SPDX-License-Identifier: Apache-2.0
// What the network of a run attends to: prompt, negative prompt and the prompts of later frames, encoded and put in the
// order of the batch. For families whose text is the states of one encoder.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "engine/reloadable.hpp"
#include "io/checkpoint.hpp"
#include "models/text/text_encoder.hpp"
#include "nn/context_keys.hpp"
#include "t2v/progress.hpp"
#include "t2v/request.hpp"

namespace t2v::models::text {

struct RunText {
  at::Tensor prompt;    // [1, L, D], or [F, L, D] where --prompt-at changes the text from frame to frame
  at::Tensor negative;  // [1, L, D]; undefined without classifier-free guidance

  bool guided() const { return negative.defined(); }
  bool by_frame() const { return prompt.size(0) > 1; }
  enum class Which { prompt, negative, both };
  /// For a network call on these frames of the clip (empty: all): [B, L, D], or [B*F, L, D] by frame, which is how
  /// networks take text that differs from frame to frame. Both are [negative, prompt], without guidance the prompt
  /// alone.
  at::Tensor states(std::span<const int64_t> frames = {}, Which which = Which::both) const;
};

/// The text as the network calls of one run get it. It is the same tensor from call to call, so that layers can keep
/// its keys and values, unless windows of frames with texts of their own move.
class CallText {
 public:
  struct Shown {
    at::Tensor states;     // undefined: not asked for yet
    nn::ContextKeys keys;  // of these states
    bool by_window = false;
  };
  explicit CallText(const RunText& text) : text_(text) {}  ///< `text` must outlive it
  /// text.states(frames, which) in `dtype`.
  Shown& of(RunText::Which which, std::span<const int64_t> frames, c10::ScalarType dtype);

 private:
  const RunText& text_;
  std::array<Shown, 3> shown_;  // by which: a run may go from one to the other and back
};

/// Encodes the text of `request` for a clip of `frames` frames, as one stage of `progress`. The texts of --prompt-at
/// are mixed in proportion between their frames and hold after the last, as diffusers 0.42's FreeNoise does with a
/// prompt by frame (pipelines/free_noise_utils.py _encode_prompt_free_noise, _lerp). As in diffusers, clip_skip is for
/// the prompt only.
RunText encode_run(const TextEncoder& encoder, const Request& request, bool guided, int64_t frames, Progress& progress);

/// The checkpoint's text encoder, which a run that is short of memory gives back before it denoises.
engine::Reloadable<TextEncoder> reloadable(const io::Checkpoint& checkpoint, const Placement& placement,
                                           std::shared_ptr<const WeightOverlay> overlay);

/// The key frames of a request: frame 0 with the prompt, then --prompt-at by frame. Throws Error{usage} for frames
/// beyond the clip and for one named twice.
std::vector<std::pair<int64_t, std::string>> key_prompts(const Request& request, int64_t frames);

/// What can be said of a request's text before anything is loaded: frames, syntax, weights. Throws Error{usage}.
void check_text(const Request& request, int64_t frames);

}  // namespace t2v::models::text
