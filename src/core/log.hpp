// SPDX-License-Identifier: Apache-2.0
// The log: standard error, one line an event. error/warn: the user must know. info: a few lines a run. debug: per
// component. trace: per step. Data never goes here, it goes to standard output.
#pragma once

#include <string_view>

#include <spdlog/spdlog.h>

namespace t2v::log {

using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::trace;
using spdlog::warn;

/// `verbosity`: -1 quiet (errors only), 0 warnings and info, 1 debug, 2 trace. `json`: one JSON object a line.
void setup(int verbosity, bool json);

}  // namespace t2v::log
