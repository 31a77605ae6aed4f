// SPDX-License-Identifier: Apache-2.0
#include "engine/sample.hpp"

#include <optional>
#include <string>

#include "engine/run_state.hpp"
#include "engine/stage.hpp"
#include "engine/whole_steps.hpp"
#include "t2v/error.hpp"

namespace t2v::engine {

namespace {

/// The steps of one sampling, each as a table says or as the sampler itself does.
class Steps {
 public:
  Steps(const RunParts& parts, WholeSteps* whole, c10::ScalarType network_dtype)
      : parts_(parts), whole_(whole), network_dtype_(network_dtype) {}

  /// The state after one step; a step whose numbers left their range is taken back and done again in fp32.
  at::Tensor take(const sampling::StepContext& context) {
    const auto history = parts_.scheduler.state(), cached = parts_.denoiser.state();
    const at::Tensor random = parts_.rng.state();
    const Rng::DrawnIn drawn(parts_.rng, network_dtype_);
    if (const auto next = tried(context)) return *next;

    const std::string stage =
        "denoise: step " + std::to_string(context.index + 1) + " of " + std::to_string(context.count);
    if (whole_) whole_->stop();
    if (!parts_.denoiser.use_fp32(true)) throw_not_finite(stage, network_dtype_, false);
    warn_of_retry(stage, network_dtype_);
    parts_.denoiser.set_state(cached);
    parts_.scheduler.set_state(history);
    parts_.rng.set_state(random);
    const auto next = called(context);
    parts_.denoiser.use_fp32(false);
    if (!next) throw_not_finite(stage, network_dtype_, true);
    return *next;
  }

 private:
  /// Nothing where a number is not finite.
  std::optional<at::Tensor> tried(const sampling::StepContext& context) {
    if (whole_) {
      if (const auto next = whole_->step(parts_.state, context.index, parts_.rng)) {
        return all_finite({*next}) ? next : std::nullopt;
      }
    }
    return called(context);
  }
  std::optional<at::Tensor> called(const sampling::StepContext& context) {
    const at::Tensor input = parts_.scheduler.scale_model_input(parts_.state, context.index);
    const at::Tensor prediction = parts_.denoiser.predict(input, context).to(c10::kFloat);
    const at::Tensor next = parts_.scheduler.step(prediction, context.index, parts_.state, parts_.rng);
    return all_finite({prediction, next}) ? std::optional(next) : std::nullopt;
  }

  const RunParts& parts_;
  WholeSteps* whole_;
  c10::ScalarType network_dtype_;
};

}  // namespace

at::Tensor sample(sampling::Scheduler& given, at::Tensor state, sampling::Denoiser& denoiser, Rng& rng,
                  Progress& progress, const SampleOptions& options) {
  const auto timesteps = given.timesteps();
  const auto count = static_cast<int64_t>(timesteps.size());
  state = state.to(c10::kFloat);
  const auto table = options.graph ? sampling::TabulatedScheduler::of(given, state.device()) : nullptr;
  sampling::Scheduler& scheduler = table ? *table : given;
  const RunParts parts{scheduler, denoiser, rng, state};
  int64_t first = 0;
  if (const RunState* kept = progress.resume_state()) {
    restore(*kept, parts, count);
    first = kept->steps_done;
  }
  std::optional<WholeSteps> whole;
  if (table) whole.emplace(*table, denoiser, *options.graph);
  Steps steps(parts, whole ? &*whole : nullptr, options.network_dtype);
  StageScope stage(progress, Stage::denoise, count - first);
  for (int64_t i = first; i < count; ++i) {
    state = steps.take({i, count, timesteps[static_cast<size_t>(i)]});
    if (i + 1 < count && progress.wants_state(i + 1, count)) progress.keep_state(capture(parts, i + 1, count));
    stage.step();
  }
  return state;
}

}  // namespace t2v::engine
