// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "cli/streams.hpp"
#include "commands/failures.hpp"
#include "commands/signals.hpp"
#include "commands/tools.hpp"

namespace t2v::commands {

namespace {

struct Row {
  cli::Command command;
  int (*run)(const Invocation&, const Tools&);
};
constexpr std::array kRows{
    Row{cli::Command::generate, generate}, Row{cli::Command::batch, batch},     Row{cli::Command::decode, decode},
    Row{cli::Command::info, info},         Row{cli::Command::compare, compare}, Row{cli::Command::bench, bench},
    Row{cli::Command::doctor, doctor},     Row{cli::Command::models, models},
};

}  // namespace

int run_command(const Invocation& invocation, const Tools& tools) noexcept {
  try {
    cli::set_error_format(invocation.run.log_format);
    for (const auto& row : kRows) {
      if (row.command == invocation.command) return row.run(invocation, tools);
    }
    throw Error(ErrorCode::internal, "a bug of t2v: a command without a row");
  } catch (...) {
    return cli::print_error(current_failure());
  }
}

}  // namespace t2v::commands
