// SPDX-License-Identifier: Apache-2.0
// A step of a run as one function of tensors: scaling, network, guidance and the sampler's update, which a device
// records once and replays. What differs from step to step lies in tables, the sampler's rows and the time embeddings,
// made for all steps before the first; and in the noise, drawn before the step and given to it.
#pragma once

#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "engine/step_graph.hpp"
#include "sampling/denoiser.hpp"
#include "sampling/tabulated.hpp"

namespace t2v::engine {

class WholeSteps {
 public:
  /// All must outlive it.
  WholeSteps(sampling::TabulatedScheduler& scheduler, sampling::Denoiser& denoiser, StepGraph& graph);

  /// The state after network call i, with noise from `rng`. Nothing, and no noise drawn, where that call is no function
  /// of tensors, or where steps of its kind can't be recorded: the network's own call may still be.
  std::optional<at::Tensor> step(const at::Tensor& state, int64_t i, Rng& rng);
  /// To be called before the denoiser changes its precision: recordings are given up.
  void stop() { graph_.stop(); }

 private:
  /// The next step's noise, drawn while the device is busy with this one: made on the CPU it takes milliseconds. It
  /// counts if the generator is then as it was for this draw.
  struct Ahead {
    int64_t step = 0;
    at::Tensor noise;
    at::Tensor before, after;  // states of the generator
  };
  at::Tensor noise(const at::Tensor& state, int64_t i, Rng& rng);
  void draw_ahead(const at::Tensor& state, int64_t i, Rng& rng);

  sampling::TabulatedScheduler& scheduler_;
  StepGraph& graph_;
  std::vector<std::optional<sampling::TensorCall>> calls_;  // of every step
  std::optional<Ahead> ahead_;
};

}  // namespace t2v::engine
