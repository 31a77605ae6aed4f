// SPDX-License-Identifier: Apache-2.0
// Exceptions of the engine and of libtorch as Errors.
#pragma once

#include "t2v/error.hpp"

namespace t2v::commands {

/// The exception being handled. libtorch's out-of-memory becomes no_resource, its other errors
/// internal; an interruption gets the code of the signal that caused it.
Error current_failure();

}  // namespace t2v::commands
