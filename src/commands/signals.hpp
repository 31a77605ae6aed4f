// SPDX-License-Identifier: Apache-2.0
// SIGINT, SIGTERM and SIGHUP: the first asks the run to stop at its next step or frame, the second
// ends the process at once; either way no temporary file stays.
#pragma once

#include "t2v/error.hpp"

namespace t2v::commands {

void install_signal_handlers();
bool stop_asked() noexcept;
/// interrupted or terminated, by the signal that came.
ErrorCode stop_code() noexcept;
/// Error{interrupted} when a signal came. For places between steps.
void throw_if_stopped();

}  // namespace t2v::commands
