// SPDX-License-Identifier: Apache-2.0
#include "models/animatediff/family.hpp"

#include <array>
#include <utility>

#include "core/log.hpp"
#include "models/animatediff/recipe.hpp"
#include "models/unet/diffusion.hpp"
#include "t2v/error.hpp"

namespace t2v::models::animatediff {

namespace {

constexpr std::array<std::string_view, 1> kPipelineClasses{"AnimateDiffPipeline"};
constexpr std::array<std::string_view, 2> kAnimated{"AnimateDiffPipeline", "StableDiffusionPipeline"};
constexpr int64_t kFrames = 16;

/// An AnimateDiffPipeline's own scheduler was chosen for its modules.
io::Config own_scheduler(const io::Component& scheduler) {
  io::Json keys = scheduler.config().json();
  keys["_class_name"] = scheduler.class_name;
  return io::Config(std::move(keys), scheduler.config().where());
}

const io::Component& adapter_of(const io::Checkpoint& checkpoint) {
  const io::Component& adapter = checkpoint.component("motion_adapter");
  if (adapter.class_name != "MotionAdapter") {
    throw Error(ErrorCode::bad_input,
                "bad motion module: " + (adapter.weight_file.empty() ? adapter.path : adapter.weight_file).string() +
                    ": wanted a MotionAdapter folder or an AnimateDiff motion module file, got " +
                    (adapter.class_name.empty() ? "something else" : adapter.class_name));
  }
  return adapter;
}

std::unique_ptr<Model> open(io::Checkpoint checkpoint, const LoadOptions& options) {
  const bool is_given = !options.motion_module.empty();
  const io::Component& scheduler = checkpoint.component("scheduler");
  unet::Variant variant{.family = "animatediff",
                        .pipeline_class = "AnimateDiffPipeline",
                        .is_video = true,
                        .unet = unet::UNet2DConfig::from(checkpoint.component("unet").config()),
                        .scheduler = own_scheduler(scheduler),
                        .frames = kFrames};
  // A saved AnimateDiffPipeline keeps its modules in the UNet; what the user gives, or a plain UNet lacks, is the
  // adapter's.
  if (is_given || !variant.unet.motion) {
    const io::Component& adapter = adapter_of(checkpoint);
    const io::Config config = adapter.config();
    variant.unet.add_motion(unet::MotionConfig::from_adapter(config), config.where());
    variant.adapter = adapter;
  }
  if (is_given) {
    Recipe recipe = recipe_for(options.motion_module, scheduler.config());
    log::debug("{}: sampled as {}: {} steps of {}, guidance {}", options.motion_module.string(), recipe.name,
               recipe.steps, recipe.scheduler.get_string("_class_name"), recipe.cfg_scale);
    variant.scheduler = std::move(recipe.scheduler);
    variant.steps = recipe.steps;
    variant.cfg_scale = recipe.cfg_scale;
  }
  return std::make_unique<unet::DiffusionModel>(std::move(checkpoint), options, std::move(variant));
}

}  // namespace

ModelFamily family() { return {"animatediff", kPipelineClasses, open, kAnimated}; }

}  // namespace t2v::models::animatediff
