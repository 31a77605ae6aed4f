// SPDX-License-Identifier: Apache-2.0
// What --dry-run prints.
#pragma once

#include "cli/invocation.hpp"
#include "io/config.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::commands {

io::Json plan_json(const cli::Invocation& invocation, const Plan& plan, const ModelInfo& model);
/// Text, or JSON with --json, on standard output.
void print_plan(const cli::Invocation& invocation, const Plan& plan, const ModelInfo& model);

}  // namespace t2v::commands
