// SPDX-License-Identifier: Apache-2.0
// Where a run stands between two denoising steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace t2v {

/// Enough to continue a run to the same result, bit for bit: the noisy latents, the sampler's history, the random
/// numbers' state and what the denoising network keeps from step to step. Valid for the same model, plan and version.
struct RunState {
  struct Array {
    std::string dtype;  ///< as safetensors spells it: "F16"
    std::vector<int64_t> shape;
    std::vector<std::byte> bytes;
  };
  int64_t steps_done = 0, steps = 0;    ///< of the run's denoising
  std::map<std::string, Array> arrays;  ///< by dotted names
};

}  // namespace t2v
