// SPDX-License-Identifier: Apache-2.0
#include "models/stable_diffusion/family.hpp"

#include <array>
#include <utility>

#include "models/unet/diffusion.hpp"

namespace t2v::models::stable_diffusion {

namespace {

constexpr std::array<std::string_view, 1> kPipelineClasses{"StableDiffusionPipeline"};

/// StableDiffusionPipeline.__init__ corrects two values of old scheduler files, whatever their class.
io::Config corrected(const io::Component& scheduler) {
  io::Json keys = scheduler.config().json();
  keys["_class_name"] = scheduler.class_name;
  keys["steps_offset"] = 1;
  keys["clip_sample"] = false;
  return io::Config(std::move(keys), scheduler.config().where());
}

std::unique_ptr<Model> open(io::Checkpoint checkpoint, const LoadOptions& options) {
  unet::Variant variant{.family = "stable_diffusion",
                        .pipeline_class = checkpoint.pipeline_class(),
                        .unet = unet::UNet2DConfig::from(checkpoint.component("unet").config()),
                        .scheduler = corrected(checkpoint.component("scheduler"))};
  return std::make_unique<unet::DiffusionModel>(std::move(checkpoint), options, std::move(variant));
}

}  // namespace

ModelFamily family() { return {"stable_diffusion", kPipelineClasses, open}; }

}  // namespace t2v::models::stable_diffusion
