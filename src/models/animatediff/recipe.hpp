// SPDX-License-Identifier: Apache-2.0
// How a motion module wants to be sampled. The base model's scheduler is for pictures; motion modules were trained with
// linear betas, and their repositories hold no scheduler.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "io/config.hpp"

namespace t2v::models::animatediff {

struct Recipe {
  std::string name;  ///< "AnimateDiff", "AnimateLCM", "AnimateDiff-Lightning"
  io::Config scheduler;
  int64_t steps = 50;
  double cfg_scale = 7.5;
};

/// `module`: the file or folder of the motion module, whose name tells the distilled ones from the others (their
/// tensors look alike); `base`: the picture model's scheduler config, whose betas and prediction type stay.
Recipe recipe_for(const std::filesystem::path& module, const io::Config& base);

}  // namespace t2v::models::animatediff
