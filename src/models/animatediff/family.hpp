// SPDX-License-Identifier: Apache-2.0
// AnimateDiff v1 to v3 (Guo et al. 2023, arXiv 2307.04725), AnimateLCM and AnimateDiff-Lightning: motion modules in a
// Stable Diffusion 1.5 model, as an AnimateDiffPipeline folder or with --motion-module. diffusers 0.42.1
// AnimateDiffPipeline.
#pragma once

#include "models/registry.hpp"

namespace t2v::models::animatediff {

ModelFamily family();

}  // namespace t2v::models::animatediff
