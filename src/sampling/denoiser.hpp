// SPDX-License-Identifier: Apache-2.0
// A network with its conditioning bound: all that the sampling loop, guidance and step wrappers
// know of a model.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace t2v::sampling {

struct StepContext {
  int64_t index = 0;    ///< position in Scheduler::timesteps()
  int64_t count = 0;    ///< number of network calls of the run
  double timestep = 0;  ///< what the network's time embedding gets; may be fractional
};

class Denoiser {
 public:
  virtual ~Denoiser() = default;
  /// The guided prediction (epsilon, v, sample or flow: as the scheduler's prediction_type says)
  /// for a scaled input x (family layout, e.g. [B, C, F, h, w]). Same shape, dtype fp32 or the
  /// network's.
  virtual at::Tensor predict(const at::Tensor& x, const StepContext& step) = 0;
};

}  // namespace t2v::sampling
