// SPDX-License-Identifier: Apache-2.0
// Where options come from, each source as one Layer; how layers are merged; how the merged layer
// becomes an Invocation. Stronger sources win: --from < configuration file < command line, and for
// batch: command line < job line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "cli/invocation.hpp"

namespace t2v::cli {

struct CommandLine {
  Command command = Command::generate;
  std::vector<std::string> operands;
  Layer given;
};

/// argv without the program's name. Throws Error{usage}: unknown flag, missing value, stray
/// argument.
CommandLine read_command_line(const std::vector<std::string>& arguments);

/// A TOML or INI file of long names; a section named after a command holds options of that command
/// only. Options of other commands are passed over, unknown names refused.
Layer read_config(const std::filesystem::path& file, Command command);

/// Keys that a recorded settings object holds beside the options.
bool is_settings_fact(std::string_view key);

/// An object of long flag names (a job line, or recorded settings). `where` begins every label.
/// Unknown keys are refused, except facts of recorded settings when `recorded` is set.
Layer read_json(const nlohmann::ordered_json& object, const std::string& where, bool recorded = false);

/// `upper` over `lower`. An option of `upper` also drops what it contradicts in `lower` (--frames
/// drops --seconds).
Layer merge(Layer lower, const Layer& upper);

/// Replaces --prompt-file and (where allowed) `--prompt -` by the prompt they name.
/// Error{bad_input} or usage.
void expand_prompt(Layer& layer, bool standard_input_allowed);

/// Understands every value and checks what can be said without looking at a file. Throws
/// Error{usage}.
Invocation build(Command command, std::vector<std::string> operands, Layer given);

/// All of it for a command line.
Invocation parse(const std::vector<std::string>& arguments);

}  // namespace t2v::cli
