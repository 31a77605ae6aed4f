// SPDX-License-Identifier: Apache-2.0
#include "models/text/run_text.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include "engine/stage.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::text {

namespace {

/// states [K, L, D] at `keys` -> [F, L, D].
at::Tensor interpolate(const at::Tensor& states, const std::vector<int64_t>& keys, int64_t frames) {
  std::vector<at::Tensor> rows;
  size_t key = 0;
  for (int64_t frame = 0; frame < frames; ++frame) {
    while (key + 1 < keys.size() && keys[key + 1] <= frame) ++key;
    const at::Tensor start = states[static_cast<int64_t>(key)];
    if (key + 1 == keys.size()) {
      rows.push_back(start.unsqueeze(0));
      continue;
    }
    const double share = static_cast<double>(frame - keys[key]) / static_cast<double>(keys[key + 1] - keys[key]);
    rows.push_back((start * (1 - share) + states[static_cast<int64_t>(key) + 1] * share).unsqueeze(0));
  }
  return at::cat(rows, 0);
}

}  // namespace

std::vector<std::pair<int64_t, std::string>> key_prompts(const Request& request, int64_t frames) {
  std::map<int64_t, std::string> keys;
  for (const auto& [frame, text] : request.prompt_at) {
    const std::string label = "bad value: --prompt-at " + std::to_string(frame) + ": wanted ";
    if (frame < 0 || frame >= frames) {
      throw Error(ErrorCode::usage,
                  label + "a frame from 0 to " + std::to_string(frames - 1) + ", got " + std::to_string(frame));
    }
    if (!keys.emplace(frame, text).second) throw Error(ErrorCode::usage, label + "one text a frame, got two");
  }
  keys.emplace(0, request.prompt);
  return {keys.begin(), keys.end()};
}

void check_text(const Request& request, int64_t frames) {
  const auto syntax = t2v::text::prompt_syntax(request.prompt_syntax);
  for (const auto& [frame, text] : key_prompts(request, frames)) t2v::text::parse_prompt(text, syntax);
  t2v::text::parse_prompt(request.negative_prompt.value_or(""), syntax);
}

at::Tensor RunText::states(std::span<const int64_t> frames, Which which) const {
  if (which == Which::negative) return negative;
  at::Tensor shown = prompt;
  if (by_frame() && !frames.empty()) {
    shown = prompt.index_select(
        0,
        at::tensor(at::IntArrayRef(frames.data(), frames.size()), at::TensorOptions(c10::kLong)).to(prompt.device()));
  }
  if (!guided() || which == Which::prompt) return shown;
  return at::cat({negative.expand({shown.size(0), -1, -1}), shown}, 0);
}

CallText::Shown& CallText::of(RunText::Which which, std::span<const int64_t> frames, c10::ScalarType dtype) {
  Shown& shown = shown_[static_cast<size_t>(which)];
  const bool by_window = text_.by_frame() && !frames.empty();
  const bool is_kept = shown.states.defined() && shown.states.scalar_type() == dtype && !by_window && !shown.by_window;
  if (!is_kept) shown.states = text_.states(frames, which).to(dtype);
  shown.by_window = by_window;
  return shown;
}

engine::Reloadable<TextEncoder> reloadable(const io::Checkpoint& checkpoint, const Placement& placement,
                                           std::shared_ptr<const WeightOverlay> overlay) {
  const auto load = [tokenizer = checkpoint.component("tokenizer"), encoder = checkpoint.component("text_encoder"),
                     overlay = std::move(overlay)](const Placement& where) {
    return std::make_unique<TextEncoder>(tokenizer, encoder, where, overlay);
  };
  return {placement, load};
}

RunText encode_run(const TextEncoder& encoder, const Request& request, bool guided, int64_t frames,
                   Progress& progress) {
  engine::StageScope stage(progress, Stage::text, 1);
  const auto keys = key_prompts(request, frames);
  std::vector<PromptText> texts;
  std::vector<int64_t> key_frames;
  for (const auto& [frame, text] : keys) {
    texts.push_back({text, request.clip_skip.value_or(0)});
    key_frames.push_back(frame);
  }
  if (guided) texts.push_back({request.negative_prompt.value_or(""), 0});
  const at::Tensor states = encoder.encode_batch(texts, t2v::text::prompt_syntax(request.prompt_syntax));
  const auto count = static_cast<int64_t>(keys.size());
  RunText text;
  text.prompt = states.narrow(0, 0, count);
  if (count > 1) text.prompt = interpolate(text.prompt, key_frames, frames);
  if (guided) text.negative = states.narrow(0, count, 1);
  stage.step();
  return text;
}

}  // namespace t2v::models::text
