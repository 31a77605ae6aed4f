// SPDX-License-Identifier: Apache-2.0
#include "models/animatediff/recipe.hpp"

#include <cctype>
#include <utility>

namespace t2v::models::animatediff {

namespace {

std::string lower(std::string name) {
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

/// Names that any module may have, in diffusers' folders and in collections: the folder around says which one it is.
bool says_nothing(const std::string& name) {
  const std::string stem = name.substr(0, name.find('.'));
  return name.starts_with("diffusion_pytorch_model") || name.starts_with("motion_module") || stem == "model" ||
         stem == "pytorch_model" || stem == "motion_adapter";
}

/// "animatediff_lightning_4step_comfyui.safetensors", or "animatelcm" of
/// "AnimateLCM/diffusion_pytorch_model.safetensors".
std::string telling_name(const std::filesystem::path& given) {
  const std::filesystem::path module = given.has_filename() ? given : given.parent_path();  // "AnimateLCM/"
  const std::string name = lower(module.filename().string());
  return says_nothing(name) ? lower(module.parent_path().filename().string()) : name;
}

/// The N of "Nstep", which Lightning files are distilled for; its card offers 1, 2, 4 and 8.
int64_t distilled_steps(const std::string& name) {
  const size_t at = name.find("step");
  const bool has_digit = at != std::string::npos && at > 0 && name[at - 1] >= '1' && name[at - 1] <= '8';
  return has_digit ? name[at - 1] - '0' : 4;
}

}  // namespace

Recipe recipe_for(const std::filesystem::path& module, const io::Config& base) {
  const std::string name = telling_name(module);
  io::Json keys = base.json();
  keys.erase("_use_default_values");
  keys["beta_schedule"] = "linear";  // in all of them
  const auto recipe = [&](const char* known_as, const char* scheduler, int64_t steps, double cfg_scale) {
    keys["_class_name"] = scheduler;
    return Recipe{known_as, io::Config(std::move(keys), base.where()), steps, cfg_scale};
  };
  // Model card of ByteDance/AnimateDiff-Lightning: Euler, trailing, guidance 1.
  if (name.find("lightning") != std::string::npos) {
    keys["timestep_spacing"] = "trailing";
    return recipe("AnimateDiff-Lightning", "EulerDiscreteScheduler", distilled_steps(name), 1.0);
  }
  // diffusers' documentation of AnimateDiff, "Using AnimateLCM": 6 steps, guidance 2.
  if (name.find("animatelcm") != std::string::npos || name.find("animate-lcm") != std::string::npos) {
    return recipe("AnimateLCM", "LCMScheduler", 6, 2.0);
  }
  // The same documentation, and the inference configs of guoyww/AnimateDiff (linear betas, offset 1, no clipping).
  keys["clip_sample"] = false;
  keys["timestep_spacing"] = "linspace";
  keys["steps_offset"] = 1;
  return recipe("AnimateDiff", "DDIMScheduler", 50, 7.5);
}

}  // namespace t2v::models::animatediff
