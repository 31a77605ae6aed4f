// SPDX-License-Identifier: Apache-2.0
// What it costs to turn a frame into latents: the beginning of a run with --video or --image.
#pragma once

#include <optional>

#include "commands/bench_profile.hpp"
#include "io/checkpoint.hpp"
#include "t2v/pipeline.hpp"
#include "tensor/placement.hpp"

namespace t2v::commands {

struct EncodeTimes {
  StageTimes times;   ///< a step is a frame
  int64_t flops = 0;  ///< of one frame
};

/// Loads the autoencoder `vae` and encodes pictures of the plan's size, one at a time, as runs do. Nothing where it
/// only decodes.
std::optional<EncodeTimes> encode_times(const io::Component& vae, const Plan& plan, const Placement& placement,
                                        bool profiles);

}  // namespace t2v::commands
