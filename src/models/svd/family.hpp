// SPDX-License-Identifier: Apache-2.0
// Stable Video Diffusion: an image comes to life. 14 frames, XT with 25, and their 1.1 versions.
#pragma once

#include "models/registry.hpp"

namespace t2v::models::svd {

ModelFamily family();

}  // namespace t2v::models::svd
