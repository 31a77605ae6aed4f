// SPDX-License-Identifier: Apache-2.0
// The commands, and what they get from outside. Each returns an exit code or throws Error.
#pragma once

#include <functional>
#include <memory>

#include "cli/invocation.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::commands {

using cli::Invocation;

/// What a command uses of the engine, so that tests can run the commands on a model of their own.
struct Tools {
  std::function<std::unique_ptr<Model>(const LoadOptions&)> open_model;
};

int generate(const Invocation& invocation, const Tools& tools);
int batch(const Invocation& invocation, const Tools& tools);
int decode(const Invocation& invocation, const Tools& tools);
int info(const Invocation& invocation, const Tools& tools);
int compare(const Invocation& invocation, const Tools& tools);
int bench(const Invocation& invocation, const Tools& tools);
int doctor(const Invocation& invocation, const Tools& tools);
int models(const Invocation& invocation, const Tools& tools);

/// Picks the command, prints its error if it throws, returns the exit code. Never throws.
int run_command(const Invocation& invocation, const Tools& tools) noexcept;

}  // namespace t2v::commands
