// SPDX-License-Identifier: Apache-2.0
// Stable Diffusion 1.x and 2.x: one picture from a prompt. diffusers 0.42.1 StableDiffusionPipeline.
#pragma once

#include "models/registry.hpp"

namespace t2v::models::stable_diffusion {

ModelFamily family();

}  // namespace t2v::models::stable_diffusion
