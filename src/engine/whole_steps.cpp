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

std::optional<at::Tensor> WholeSteps::step(const at::Tensor& state, int64_t i) {
  const auto& call = calls_[static_cast<size_t>(i)];
  if (!call || graph_.has_given_up(call->kind)) return std::nullopt;
  const auto whole = [&predict = call->predict](const std::vector<at::Tensor>& in) {
    const at::Tensor &x = in[0], &remembered = in[1], &time = in[2], &row = in[3];
    const at::Tensor prediction = predict(TabulatedScheduler::scaled(x, row), time);
    return TabulatedScheduler::advanced(x, remembered, prediction, row);
  };
  const at::Tensor advanced =
      graph_.run({state, scheduler_.remembered(state), call->time, scheduler_.row(i)}, whole, call->kind);
  return scheduler_.accept(advanced, i, state);
}

}  // namespace t2v::engine
