// SPDX-License-Identifier: Apache-2.0
// ModelScopeT2V 1.7B, ZeroScope v2, potat1, and the embedded model: a UNet3DConditionModel with CLIP or T5 text.
#pragma once

#include "models/registry.hpp"

namespace t2v::models::modelscope {

ModelFamily family();

}  // namespace t2v::models::modelscope
