// SPDX-License-Identifier: Apache-2.0
// Opens libt2v.so, which holds the engine and libtorch, when a command needs it.
#pragma once

#include "cli/invocation.hpp"

extern "C" {
/// The one entry of libt2v.so for the program: runs the command, prints its errors, returns the
/// exit code.
__attribute__((visibility("default"))) int t2v_run(const t2v::cli::Invocation& invocation);
}

namespace t2v::cli {

/// Finds libt2v.so beside the program or in the library folder of its install, and runs t2v_run
/// from it. Error{internal} when it is missing or does not load, naming the reason.
int run_in_engine(const Invocation& invocation);

}  // namespace t2v::cli
