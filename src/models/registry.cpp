// SPDX-License-Identifier: Apache-2.0
#include "models/registry.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "core/text.hpp"
#include "io/json_error.hpp"
#include "models/animatediff/family.hpp"
#include "models/modelscope/family.hpp"
#include "models/stable_diffusion/family.hpp"
#include "models/svd/family.hpp"
#include "t2v/error.hpp"

namespace t2v::models {

std::span<const ModelFamily> model_families() {
  static const std::array families{
      modelscope::family(),
      animatediff::family(),
      stable_diffusion::family(),
      svd::family(),
  };
  return families;
}

io::Checkpoint open_checkpoint(const LoadOptions& options) {
  constexpr const char* kEmbeddedModel = "shapes-64";  // of models/, used when none is named
  io::Checkpoint checkpoint =
      io::Checkpoint::open(io::resolve_model(options.model.empty() ? kEmbeddedModel : options.model));
  if (!options.vae.empty()) checkpoint.override_component("vae", options.vae);
  if (!options.text_encoder.empty()) checkpoint.override_component("text_encoder", options.text_encoder);
  if (!options.unet.empty()) checkpoint.override_component("unet", options.unet);
  if (!options.motion_module.empty()) checkpoint.override_component("motion_adapter", options.motion_module);
  return checkpoint;
}

}  // namespace t2v::models

namespace t2v {

std::unique_ptr<Model> open_model(const LoadOptions& options) {
  io::Checkpoint checkpoint = models::open_checkpoint(options);
  const auto takes = [&](std::span<const std::string_view> classes) {
    return std::ranges::find(classes, checkpoint.pipeline_class()) != classes.end();
  };
  for (const auto& family : models::model_families()) {
    if (!options.motion_module.empty() && takes(family.classes_with_motion_module)) {
      return family.open(std::move(checkpoint), options);
    }
  }
  std::vector<std::string> known;
  for (const auto& family : models::model_families()) {
    if (takes(family.pipeline_classes)) return family.open(std::move(checkpoint), options);
    known.insert(known.end(), family.pipeline_classes.begin(), family.pipeline_classes.end());
  }
  throw Error(ErrorCode::unsupported, "unsupported pipeline: " + (checkpoint.path() / "model_index.json").string() +
                                          ": wanted one of " + join(known, " ") + ", got '" +
                                          io::printable(checkpoint.pipeline_class(), 80) + "'");
}

}  // namespace t2v
