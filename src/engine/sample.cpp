// SPDX-License-Identifier: Apache-2.0
#include "engine/sample.hpp"

#include <string>

#include <ATen/ops/isfinite.h>
#include <ATen/ops/sum.h>

#include "engine/device.hpp"
#include "engine/stage.hpp"
#include "t2v/error.hpp"

namespace t2v::engine {

void require_finite(const at::Tensor& tensor, const std::string& stage) {
  // x * 0 is 0 for finite x and NaN otherwise, so one reduction answers.
  const double sum = (tensor.to(c10::kFloat).mul(0)).sum().item<double>();
  if (sum == 0.0) return;
  throw Error(ErrorCode::numbers,
              "numbers went wrong: " + stage + ": wanted finite values, got NaN or Inf in " +
                  dtype_name(tensor.scalar_type()),
              tensor.scalar_type() == c10::kFloat ? "check the checkpoint, the sampler and --cfg-scale"
                                                  : "try --dtype bf16 or --dtype fp32");
}

at::Tensor sample(sampling::Scheduler& scheduler, at::Tensor state, sampling::Denoiser& denoiser, Rng& rng,
                  Progress& progress, const SampleOptions& options) {
  const auto timesteps = scheduler.timesteps();
  const auto count = static_cast<int64_t>(timesteps.size());
  StageScope stage(progress, Stage::denoise, count - options.first_step);
  for (int64_t i = options.first_step; i < count; ++i) {
    const at::Tensor input = scheduler.scale_model_input(state, i);
    const at::Tensor prediction = denoiser.predict(input, {i, count, timesteps[i]});
    state = scheduler.step(prediction, i, state, rng);
    require_finite(state, "denoise: step " + std::to_string(i + 1) + " of " + std::to_string(count));
    if (options.after_step) options.after_step(i, state);
    stage.step();
  }
  return state;
}

}  // namespace t2v::engine
