// SPDX-License-Identifier: Apache-2.0
// The one table of options. The command line, configuration files, job files, recorded settings,
// help, man page, shell completions and the README table are all made from it; adding a flag is
// adding a row.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "cli/invocation.hpp"

namespace t2v::cli {

enum class Group { prompt, model, video, sampling, conditioning, decoding, output, machine, run, information };
std::string_view group_title(Group group);

struct Option;

/// The text of one value and how messages call it.
struct ValueText {
  std::string_view label;  ///< "--steps"
  std::string_view text;
};

struct Option {
  std::string_view name;     ///< long name without dashes
  std::string_view aliases;  ///< separated by spaces, with dashes: "-n --num-frames"
  std::string_view value;    ///< what help calls the value; empty: a flag
  std::string_view about;    ///< one line, with the default
  Group group;
  uint32_t commands;                                          ///< bits of Command
  void (*set)(Invocation&, const Option&, const ValueText&);  ///< throws Error{usage}
  void (*get)(const Invocation&, const Option&,
              nlohmann::ordered_json&);  ///< null: not a setting of the result
  double min = 0, max = 0;               ///< of a number
  std::string_view choices = {};         ///< separated by spaces; for checks and completions
  bool repeats = false;                  ///< every value counts; otherwise the last one wins
};

struct CommandRow {
  Command command;
  std::string_view name;
  std::string_view operands;  ///< "A B"; empty: none
  size_t min_operands, max_operands;
  std::string_view about;
};

std::span<const Option> options();
std::span<const CommandRow> commands();
const CommandRow& command_row(Command command);
constexpr uint32_t bit(Command command) { return 1U << static_cast<uint32_t>(command); }

/// The row for a long name or alias, with or without dashes, '_' as '-'; null: there is none.
const Option* find_option(std::string_view name);
/// Same, among the rows of one command (one name may mean two things for two commands).
const Option* find_option(std::string_view name, Command command);
/// Long names (and long aliases) of one command, with dashes.
std::vector<std::string> long_names(Command command);

/// Every setting that shapes the result, by long flag name. Absent ones are left out; paths lose
/// their folders.
void write_settings(const Invocation& invocation, nlohmann::ordered_json& object);

}  // namespace t2v::cli
