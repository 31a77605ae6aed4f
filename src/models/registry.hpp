// SPDX-License-Identifier: Apache-2.0
// The table of model families: one row each.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "io/checkpoint.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::models {

struct ModelFamily {
  std::string_view name;                               ///< folder under src/models
  std::span<const std::string_view> pipeline_classes;  ///< _class_name values of model_index.json it takes
  std::unique_ptr<Model> (*open)(io::Checkpoint, const LoadOptions&);
  std::span<const std::string_view> classes_with_motion_module = {};  ///< what it takes where --motion-module is given
};

std::span<const ModelFamily> model_families();

/// The checkpoint that the options name, with the components that they replace. Opens no weight
/// file of a folder.
io::Checkpoint open_checkpoint(const LoadOptions& options);

}  // namespace t2v::models
