// SPDX-License-Identifier: Apache-2.0
// Facts about a checkpoint that every family reports or reads in the same way.
#pragma once

#include <cstdint>
#include <optional>

#include <c10/core/ScalarType.h>

#include "io/checkpoint.hpp"
#include "t2v/pipeline.hpp"
#include "text/vocabulary.hpp"

namespace t2v::models {

ComponentInfo describe(const io::Component& component, int64_t parameters);

/// What --dtype auto is on a device: bf16 where the network's file has it, whose numbers fp16 may not hold; else fp16.
c10::ScalarType half_dtype(const io::Component& network);

/// The object "t2v" of model_index.json: what a checkpoint trained for this engine wants by default. diffusers ignores
/// it.
struct OwnDefaults {
  std::optional<int64_t> width, height, frames, steps;
  std::optional<double> cfg_scale;
  std::optional<Rational> fps;
  std::optional<int64_t> display_scale;  ///< whole factor by which frames are enlarged when no size is asked for
  t2v::text::Vocabulary vocabulary;      ///< of a model of a small world; empty: no warnings about prompts
};
OwnDefaults own_defaults(const io::Checkpoint& checkpoint);

}  // namespace t2v::models
