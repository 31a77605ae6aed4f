// SPDX-License-Identifier: Apache-2.0
#include "engine/whole_steps.hpp"

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
                                       scheduler_.noise(state, i, rng)};
  return scheduler_.accept(graph_.run(inputs, whole, call->kind), i, state);
}

}  // namespace t2v::engine
