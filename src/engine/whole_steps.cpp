// SPDX-License-Identifier: Apache-2.0
#include "engine/whole_steps.hpp"

#include <ATen/ops/equal.h>

namespace t2v::engine {

using sampling::TabulatedScheduler;

WholeSteps::WholeSteps(TabulatedScheduler& scheduler, sampling::Denoiser& denoiser, StepGraph& graph)
    : scheduler_(scheduler), graph_(graph) {
  const auto timesteps = scheduler.timesteps();
  const auto count = static_cast<int64_t>(timesteps.size());
  for (int64_t i = 0; i < count; ++i) {
    calls_.push_back(denoiser.tensor_call({i, count, timesteps[static_cast<size_t>(i)]}));
  }
}

std::optional<at::Tensor> WholeSteps::step(const at::Tensor& state, int64_t i, Rng& rng) {
  const auto& call = calls_[static_cast<size_t>(i)];
  if (!call || graph_.has_given_up(call->kind)) return std::nullopt;
  const auto whole = [&predict = call->predict](const std::vector<at::Tensor>& in) {
    const at::Tensor &x = in[0], &remembered = in[1], &time = in[2], &row = in[3], &noise = in[4];
    const at::Tensor prediction = predict(TabulatedScheduler::scaled(x, row), time);
    return TabulatedScheduler::advanced(x, remembered, prediction, noise, row);
  };
  const std::vector<at::Tensor> inputs{state, scheduler_.remembered(state), call->time, scheduler_.row(i),
                                       noise(state, i, rng)};
  const at::Tensor next = scheduler_.accept(graph_.run(inputs, whole, call->kind), i, state);
  draw_ahead(next, i + 1, rng);  // the device is still busy
  return next;
}

at::Tensor WholeSteps::noise(const at::Tensor& state, int64_t i, Rng& rng) {
  const bool is_drawn = ahead_ && ahead_->step == i && at::equal(ahead_->before, rng.state());
  if (!is_drawn) return scheduler_.noise(state, i, rng);
  rng.set_state(ahead_->after);
  return ahead_->noise;
}

/// The generator stays where it is: the step may never come, or not in this form.
void WholeSteps::draw_ahead(const at::Tensor& state, int64_t i, Rng& rng) {
  ahead_.reset();
  if (i == static_cast<int64_t>(calls_.size()) || scheduler_.draws(i) == 0) return;
  Ahead next{.step = i, .noise = {}, .before = rng.state(), .after = {}};
  next.noise = scheduler_.noise(state, i, rng);
  next.after = rng.state();
  rng.set_state(next.before);
  ahead_ = next;
}

}  // namespace t2v::engine
