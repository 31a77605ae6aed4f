// SPDX-License-Identifier: Apache-2.0
// The state of a run between two steps: taken, put back, kept in a file.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <ATen/core/Tensor.h>

#include "io/tensor_file.hpp"
#include "sampling/denoiser.hpp"
#include "sampling/scheduler.hpp"
#include "t2v/run_state.hpp"

namespace t2v::engine {

/// Everything that a step changes.
struct RunParts {
  sampling::Scheduler& scheduler;
  sampling::Denoiser& denoiser;
  Rng& rng;
  at::Tensor& state;  ///< the noisy latents
};

RunState capture(const RunParts& parts, int64_t steps_done, int64_t steps);
/// Puts `kept` back; parts.state must have the shape and device of the run. Error{bad_input} when it is of another run.
void restore(const RunState& kept, const RunParts& parts, int64_t steps);

/// Atomic. `about` is the caller's JSON about the run, kept in __metadata__.
void save_run_state(const std::filesystem::path& file, const RunState& state, const std::string& about);
struct KeptRun {
  RunState state;
  std::string about;
};
/// Error{bad_input} unless save_run_state() wrote the file.
KeptRun load_run_state(const std::filesystem::path& file);
/// Its `about`, without reading tensors; nothing when the file is no such file.
std::optional<std::string> about_run_state(const io::TensorFile& file);

}  // namespace t2v::engine
