// SPDX-License-Identifier: Apache-2.0
// What --dry-run prints.
#pragma once

#include "cli/invocation.hpp"
#include "io/config.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::commands {

struct PlannedRun {
  const cli::Invocation& invocation;
  const Plan& plan;
  const ModelInfo& model;
};

/// `first_frame`: the run before, whose image this one begins with. Its memory is free again by then.
io::Json plan_json(const PlannedRun& run, const PlannedRun* first_frame = nullptr);
/// Text, or JSON with --json, on standard output.
void print_plan(const PlannedRun& run, const PlannedRun* first_frame = nullptr);

}  // namespace t2v::commands
