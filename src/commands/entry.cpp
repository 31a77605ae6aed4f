// SPDX-License-Identifier: Apache-2.0
// The one entry of libt2v.so for the program.
#include "cli/engine_library.hpp"
#include "commands/signals.hpp"
#include "commands/tools.hpp"
#include "core/log.hpp"
#include "engine/load_memory.hpp"

int t2v_run(const t2v::cli::Invocation& invocation) {
  // spdlog's default logger is the program's when both use one libspdlog; when it is linked
  // statically this one needs its own.
  t2v::log::setup(static_cast<int>(invocation.run.verbosity), invocation.run.json_messages());
  t2v::engine::use_one_heap();
  t2v::commands::install_signal_handlers();
  return t2v::commands::run_command(invocation, {.open_model = t2v::open_model});
}
