// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include <CLI/CLI.hpp>

#include "cli/layers.hpp"
#include "cli/option_table.hpp"
#include "cli/values.hpp"
#include "core/text.hpp"
#include "t2v/error.hpp"

namespace t2v::cli {

namespace {

/// Every spelling of a long name with '_' for any of its '-': both halves of the world type theirs.
std::vector<std::string> spellings(const std::string& name) {
  std::vector<std::string> out{name};
  for (size_t at = name.find('-', 2); at != std::string::npos; at = name.find('-', at + 1)) {
    const size_t count = out.size();
    for (size_t i = 0; i < count; ++i) {
      out.push_back(out[i]);
      out.back()[at] = '_';
    }
  }
  return out;
}

std::string all_names(const Option& option) {
  std::vector<std::string> names;
  auto words = split_words(option.aliases);
  words.insert(words.begin(), "--" + std::string(option.name));
  for (const auto& word : words) {
    if (word.starts_with("--")) {
      std::ranges::move(spellings(word), std::back_inserter(names));
    } else {
      names.push_back(word);
    }
  }
  return join(names, ",");
}

using Parsed = std::vector<std::pair<const Option*, CLI::Option*>>;

Parsed register_options(CLI::App& app, Command command) {
  Parsed parsed;
  for (const auto& option : options()) {
    if (!(option.commands & bit(command))) continue;
    CLI::Option* handle =
        option.value.empty() ? app.add_flag(all_names(option)) : app.add_option(all_names(option), CLI::callback_t{});
    handle->multi_option_policy(option.repeats || option.value.empty() ? CLI::MultiOptionPolicy::TakeAll
                                                                       : CLI::MultiOptionPolicy::TakeLast);
    parsed.emplace_back(&option, handle);
  }
  return parsed;
}

[[noreturn]] void refuse_flag(const std::string& argument, Command command) {
  const std::string flag = argument.substr(0, argument.find('='));
  const std::string command_name(command_row(command).name);
  if (find_option(flag) && !find_option(flag, command) && flag.starts_with("--")) {
    throw Error(ErrorCode::usage, flag + ": wanted an option of `t2v " + command_name + "`, got one of another command",
                "t2v " + command_name + " --help lists them");
  }
  const auto names = long_names(command);
  std::string spelled = flag;
  std::ranges::replace(spelled, '_', '-');
  throw Error(
      ErrorCode::usage, "unknown option " + flag,
      closest(spelled, names) ? did_you_mean(spelled, names) : "t2v " + command_name + " --help lists the options");
}

[[noreturn]] void refuse_operands(const CommandRow& row, const std::vector<std::string>& operands) {
  if (operands.size() < row.min_operands) {
    throw Error(ErrorCode::usage,
                std::string(row.name) + ": wanted " + std::string(row.operands) + ", got " +
                    (operands.empty() ? "nothing" : "'" + join(operands, " ") + "'"),
                "usage: t2v " + std::string(row.name) + " " + std::string(row.operands));
  }
  const std::string& stray = operands[row.max_operands];
  std::string hint = "t2v " + std::string(row.name) + " --help lists the options";
  if (row.command == Command::generate) {
    std::vector<std::string> names;
    for (const auto& other : commands()) names.emplace_back(other.name);
    const bool is_command = std::ranges::find(names, stray) != names.end();
    hint = is_command ? "a command comes first: t2v " + stray + " ..."
                      : "a prompt goes in quotes after --prompt; the commands are " + join(names, " ");
  }
  throw Error(ErrorCode::usage, "unexpected argument '" + stray + "'", hint);
}

/// "--steps: 1 required TEXT missing" and the like begin with the option's name.
[[noreturn]] void refuse_parse(const CLI::ParseError& error) {
  const std::string message = error.what();
  const std::string name = message.substr(0, message.find_first_of(":, "));
  const Option* option = find_option(name);
  if (option && !option->value.empty()) {
    throw Error(ErrorCode::usage,
                "--" + std::string(option->name) + ": wanted " + std::string(option->value) + ", got nothing");
  }
  throw Error(ErrorCode::usage, message);
}

}  // namespace

CommandLine read_command_line(const std::vector<std::string>& arguments) {
  CommandLine line;
  std::vector<std::string> rest = arguments;
  if (!rest.empty()) {
    const auto row = std::ranges::find(commands(), rest.front(), &CommandRow::name);
    if (row != commands().end()) {
      line.command = row->command;
      rest.erase(rest.begin());
    } else if (rest.front() == "help") {
      rest.front() = "--help";
    }
  }

  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  const Parsed parsed = register_options(app, line.command);
  // CLI11 reads "--prompt=" as an option that still wants its value; an empty prompt is a value.
  std::vector<std::string> tokens;
  for (const auto& token : rest) {
    const bool empty_value = token.size() > 3 && token.starts_with("--") && token.find('=') == token.size() - 1;
    tokens.push_back(empty_value ? token.substr(0, token.size() - 1) : token);
    if (empty_value) tokens.emplace_back();
  }
  std::ranges::reverse(tokens);  // App::parse takes them last first
  try {
    app.parse(tokens);
  } catch (const CLI::ParseError& error) {
    refuse_parse(error);
  }

  for (const auto& extra : app.remaining()) {
    if (extra == "--") continue;
    if (extra.size() > 1 && extra.starts_with('-')) refuse_flag(extra, line.command);
    line.operands.push_back(extra);
  }
  for (const auto& [option, handle] : parsed) {
    if (handle->count() == 0) continue;
    Given given{std::string(option->name), handle->results(), "--" + std::string(option->name)};
    if (!option->repeats && !option->value.empty()) given.values = {given.values.back()};
    line.given.push_back(std::move(given));
  }
  const bool asks_help = std::ranges::any_of(line.given, [](const Given& given) {
    return given.name == "help" || given.name == "version" || given.name.starts_with("list-");
  });
  const CommandRow& row = command_row(line.command);
  if (!asks_help && (line.operands.size() < row.min_operands || line.operands.size() > row.max_operands)) {
    refuse_operands(row, line.operands);
  }
  return line;
}

}  // namespace t2v::cli
