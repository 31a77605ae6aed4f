// SPDX-License-Identifier: Apache-2.0
#include "engine/sample.hpp"

#include <string>

#include "engine/run_state.hpp"
#include "engine/stage.hpp"
#include "t2v/error.hpp"

namespace t2v::engine {

namespace {

at::Tensor predict(const RunParts& parts, const at::Tensor& from, const sampling::StepContext& context) {
  return parts.denoiser.predict(parts.scheduler.scale_model_input(from, context.index), context);
}

/// The state after one step; a step whose numbers left their range is taken back and done again in fp32.
at::Tensor finite_step(const RunParts& parts, const sampling::StepContext& context) {
  const auto history = parts.scheduler.state(), cached = parts.denoiser.state();
  const at::Tensor random = parts.rng.state();
  const auto step = [&](const at::Tensor& prediction, const at::Tensor& from) {
    return parts.scheduler.step(prediction, context.index, from, parts.rng);
  };
  const auto take_back = [&] {
    parts.scheduler.set_state(history);
    parts.rng.set_state(random);
  };
  const at::Tensor prediction = predict(parts, parts.state, context);
  const at::Tensor next = step(prediction, parts.state);
  if (all_finite({prediction, next})) return next;

  const std::string stage =
      "denoise: step " + std::to_string(context.index + 1) + " of " + std::to_string(context.count);
  const c10::ScalarType dtype = prediction.scalar_type();
  if (!parts.denoiser.use_fp32(true)) throw_not_finite(stage, dtype, false);
  warn_of_retry(stage, dtype);
  parts.denoiser.set_state(cached);
  const at::Tensor wide = parts.state.to(c10::kFloat);
  const at::Tensor precise = predict(parts, wide, context);
  parts.denoiser.use_fp32(false);
  if (!all_finite({precise})) throw_not_finite(stage, dtype, true);
  // Where the sampler can stay in its dtype, its arithmetic and its noise remain those of a run without trouble.
  take_back();
  const at::Tensor mended = step(narrowed(precise, dtype), parts.state);
  if (all_finite({mended})) return mended;
  take_back();
  const at::Tensor last = step(precise, wide);
  if (!all_finite({last})) throw_not_finite(stage, dtype, true);
  return narrowed(last, parts.state.scalar_type());
}

}  // namespace

at::Tensor sample(sampling::Scheduler& scheduler, at::Tensor state, sampling::Denoiser& denoiser, Rng& rng,
                  Progress& progress, const SampleOptions& options) {
  const auto timesteps = scheduler.timesteps();
  const auto count = static_cast<int64_t>(timesteps.size());
  const RunParts parts{scheduler, denoiser, rng, state};
  int64_t first = options.first_step;
  if (const RunState* kept = progress.resume_state()) {
    restore(*kept, parts, count);
    first = kept->steps_done;
  }
  StageScope stage(progress, Stage::denoise, count - first);
  for (int64_t i = first; i < count; ++i) {
    state = finite_step(parts, {i, count, timesteps[i]});
    if (options.after_step) options.after_step(i, state);
    if (i + 1 < count && progress.wants_state(i + 1, count)) progress.keep_state(capture(parts, i + 1, count));
    stage.step();
  }
  return state;
}

}  // namespace t2v::engine
