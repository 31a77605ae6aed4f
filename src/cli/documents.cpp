// SPDX-License-Identifier: Apache-2.0
#include "cli/documents.hpp"

#include <algorithm>
#include <array>

#include "cli/option_table.hpp"
#include "cli/samplers.hpp"
#include "cli/values.hpp"
#include "core/text.hpp"
#include "t2v/version.hpp"

namespace t2v::cli {

namespace {

constexpr std::array kGroups{Group::prompt,   Group::model,  Group::video,   Group::sampling, Group::conditioning,
                             Group::decoding, Group::output, Group::machine, Group::run,      Group::information};

struct ExitCode {
  int code;
  std::string_view meaning;
};
constexpr std::array kExitCodes{
    ExitCode{0, "done"},
    ExitCode{1, "a bug of t2v, or a comparison below its limit"},
    ExitCode{2, "wrong usage"},
    ExitCode{3, "a model or input file is missing or bad"},
    ExitCode{4, "not supported"},
    ExitCode{5, "out of memory, or no such device"},
    ExitCode{6, "the output could not be written"},
    ExitCode{7, "the numbers went wrong (NaN or infinity)"},
    ExitCode{8, "some jobs of a batch failed"},
    ExitCode{130, "interrupted"},
    ExitCode{141, "the reader of standard output went away"},
    ExitCode{143, "terminated"},
};

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

/// Words of `text` in lines of at most `width`, every line but the first indented.
std::string wrapped(std::string_view text, size_t indent, size_t width) {
  std::string out;
  size_t column = indent;
  for (const auto& word : split_words(text)) {
    if (column > indent && column + 1 + word.size() > width) {
      out.append(1, '\n').append(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

/// "-p, --prompt TEXT": short names first, as users look for them.
std::string signature(const Option& option) {
  std::vector<std::string> shorts;
  std::vector<std::string> longs{"--" + std::string(option.name)};
  for (auto& alias : split_words(option.aliases)) (alias.starts_with("--") ? longs : shorts).push_back(alias);
  shorts.insert(shorts.end(), longs.begin(), longs.end());
  return join(shorts, ", ") + (option.value.empty() ? "" : " " + std::string(option.value));
}

std::string command_usage(const CommandRow& row) {
  std::string usage =
      row.command == Command::generate ? "t2v --prompt TEXT -o FILE [OPTIONS]" : "t2v " + std::string(row.name);
  if (!row.operands.empty()) usage += " " + std::string(row.operands);
  if (row.command == Command::decode) usage += " -o FILE";
  return row.command == Command::generate ? usage : usage + " [OPTIONS]";
}

std::vector<std::string> flags_of(uint32_t commands) {
  std::vector<std::string> names;
  for (const auto& option : options()) {
    if (!(option.commands & commands)) continue;
    names.push_back("--" + std::string(option.name));
    for (auto& alias : split_words(option.aliases)) names.push_back(std::move(alias));
  }
  return names;
}

bool takes_file(const Option& option) { return option.value == "FILE" || option.value.starts_with("PATH"); }

/// roff reads '-' as a hyphen and a leading '.' as a request.
std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '-' || c == '\\') out += '\\';
    out += c == '\\' ? 'e' : c;
  }
  return out.starts_with('.') || out.starts_with('\'') ? "\\&" + out : out;
}

std::string bash_completion() {
  std::string cases;
  std::string files;
  for (const auto& option : options()) {
    if (option.value.empty()) continue;
    auto names = split_words(option.aliases);
    names.insert(names.begin(), "--" + std::string(option.name));
    const std::string choices = option.name == "sampler" ? "$samplers" : std::string(option.choices);
    const std::string pattern = join(names, "|");
    if (!choices.empty()) {
      cases += "    " + pattern + ") COMPREPLY=($(compgen -W \"" + choices + "\" -- \"$word\")); return ;;\n";
    } else if (takes_file(option)) {
      files += (files.empty() ? "" : "|") + pattern;
    } else {
      cases += "    " + pattern + ") return ;;\n";
    }
  }
  std::string samplers;
  for (const auto& sampler : sampler_names()) samplers += (samplers.empty() ? "" : " ") + std::string(sampler.name);
  std::string names;
  std::string by_command;
  for (const auto& row : commands()) {
    names += (names.empty() ? "" : " ") + std::string(row.name);
    by_command += "    " + std::string(row.name) + ") flags=\"" + join(flags_of(bit(row.command)), " ") + "\" ;;\n";
  }
  return "# bash completion for t2v\n_t2v() {\n"
         "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} flags\n"
         "  local samplers=\"" +
         samplers +
         "\"\n"
         "  case $before in\n    " +
         files + ") compopt -o default; return ;;\n" + cases +
         "  esac\n"
         "  case ${COMP_WORDS[1]} in\n" +
         by_command + "    *) flags=\"" + join(flags_of(bit(Command::generate)), " ") +
         "\" ;;\n  esac\n"
         "  if [[ $COMP_CWORD -eq 1 && $word != -* ]]; then flags=\"" +
         names +
         "\"; fi\n"
         "  COMPREPLY=($(compgen -W \"$flags\" -- \"$word\"))\n"
         "  [[ ${#COMPREPLY[@]} -gt 0 ]] || compopt -o default\n}\n"
         "complete -F _t2v t2v\n";
}

/// Text inside single quotes of a shell.
std::string shell_quoted(std::string_view text, std::string_view escape_too = {}) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
      continue;
    }
    if (escape_too.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return "'" + out + "'";
}

std::string choices_of(const Option& option) {
  if (option.name != "sampler") return std::string(option.choices);
  std::string names;
  for (const auto& sampler : sampler_names()) names += (names.empty() ? "" : " ") + std::string(sampler.name);
  return names;
}

std::string zsh_completion() {
  std::string out = "#compdef t2v\nlocal -a commands\ncommands=(\n";
  for (const auto& row : commands()) {
    out += "  " + shell_quoted(std::string(row.name) + ":" + std::string(row.about)) + "\n";
  }
  out += ")\n_arguments -s \\\n";
  for (const auto& option : options()) {
    auto names = split_words(option.aliases);
    names.insert(names.begin(), "--" + std::string(option.name));
    for (const auto& name : names) {
      std::string spec = name + "[" + std::string(option.about) + "]";
      std::string escaped = shell_quoted(spec, ":");
      if (!option.value.empty()) {
        const std::string choices = choices_of(option);
        escaped.pop_back();
        escaped += ":value:" + (choices.empty() ? (takes_file(option) ? "_files" : " ") : "(" + choices + ")") + "'";
      }
      out += "  " + std::string(option.repeats ? "'*'" : "") + escaped + " \\\n";
    }
  }
  return out + "  '1: :_describe command commands' '*:file:_files'\n";
}

std::string fish_completion() {
  std::string out = "# fish completion for t2v\n";
  for (const auto& row : commands()) {
    out += "complete -c t2v -n __fish_use_subcommand -a " + std::string(row.name) + " -d " +
           shell_quoted(row.about, "\\") + "\n";
  }
  for (const auto& option : options()) {
    out += "complete -c t2v -l " + std::string(option.name);
    for (const auto& alias : split_words(option.aliases)) {
      out += alias.starts_with("--") ? " -l " + alias.substr(2) : " -s " + alias.substr(1);
    }
    const std::string choices = choices_of(option);
    if (!option.value.empty()) out += takes_file(option) ? " -r" : " -x";
    if (!choices.empty()) out += " -a " + shell_quoted(choices);
    out += " -d " + shell_quoted(option.about, "\\") + "\n";
  }
  return out;
}

}  // namespace

std::string help_text(Command command) {
  constexpr size_t kIndent = 6;
  constexpr size_t kWidth = 96;
  const CommandRow& row = command_row(command);
  std::string out = "usage: " + command_usage(row) + "\n" + std::string(row.about) + "\n";
  if (command == Command::generate) {
    out += "\nCommands:\n";
    for (const auto& other : commands()) {
      constexpr size_t kNameWidth = 20;
      std::string name(other.name);
      if (!other.operands.empty()) name += " " + std::string(other.operands);
      out += "  " + padded(name, kNameWidth) + wrapped(other.about, kNameWidth + 2, kWidth) + "\n";
    }
  }
  for (const Group group : kGroups) {
    std::string lines;
    for (const auto& option : options()) {
      if (option.group != group || !(option.commands & bit(command))) continue;
      lines += "  " + signature(option) + "\n      " + wrapped(option.about, kIndent, kWidth) + "\n";
    }
    if (!lines.empty()) out += "\n" + std::string(group_title(group)) + ":\n" + lines;
  }
  if (command == Command::generate) {
    out += "\nExit codes: ";
    std::string codes;
    for (const auto& row_of : kExitCodes) {
      codes += (codes.empty() ? "" : "; ") + std::to_string(row_of.code) + " " + std::string(row_of.meaning);
    }
    out += wrapped(codes, 12, kWidth) + "\n";
  }
  return out;
}

std::string version_text() { return "t2v " T2V_VERSION "\n"; }

std::string sampler_list() {
  std::string out;
  for (const auto& sampler : sampler_names()) {
    out += padded(std::string(sampler.name), 14) + padded(std::string(sampler.class_name), 34) +
           std::string(sampler.about) + "\n";
  }
  return out;
}

std::string flag_table() {
  std::string out = "| flag | aliases | meaning |\n|---|---|---|\n";
  for (const Group group : kGroups) {
    for (const auto& option : options()) {
      if (option.group != group) continue;
      const auto escaped = [](std::string_view text) {
        std::string cell;
        for (const char c : text) cell += c == '|' ? std::string("\\|") : std::string(1, c);
        return cell;
      };
      const auto aliases = split_words(option.aliases);
      out += "| `--" + std::string(option.name) + (option.value.empty() ? "" : " " + escaped(option.value)) + "` | " +
             (aliases.empty() ? std::string() : std::string("`") + join(aliases, "` `") + "`") + " | " +
             escaped(option.about) + " |\n";
    }
  }
  return out;
}

std::string man_page() {
  std::string out = ".TH T2V 1 \"\" \"t2v " T2V_VERSION "\" \"User Commands\"\n.SH NAME\nt2v \\- text to video\n";
  out += ".SH SYNOPSIS\n";
  for (const auto& row : commands()) out += ".B " + roff(command_usage(row)) + "\n.br\n";
  out += ".SH COMMANDS\n";
  for (const auto& row : commands()) out += ".TP\n.B " + roff(row.name) + "\n" + roff(row.about) + "\n";
  out += ".SH OPTIONS\nIn long names, '_' may be typed for '\\-'.\n";
  for (const Group group : kGroups) {
    out += ".SS " + std::string(group_title(group)) + "\n";
    for (const auto& option : options()) {
      if (option.group == group) out += ".TP\n.B " + roff(signature(option)) + "\n" + roff(option.about) + "\n";
    }
  }
  out += ".SH EXIT STATUS\n";
  for (const auto& row : kExitCodes) {
    out += ".TP\n.B " + std::to_string(row.code) + "\n" + roff(row.meaning) + "\n";
  }
  out += ".SH ENVIRONMENT\n.TP\n.B T2V_MODELS\nfolder of models that can be named with \\-\\-model\n";
  out +=
      ".TP\n.B T2V_ATTENTION\naten: attention on CUDA as libtorch chooses; auto (default): the form that was fastest, "
      "as ";
  out += "remembered in t2v/attention.json in $XDG_CACHE_HOME or ~/.cache\n";
  return out;
}

std::string completion_script(std::string_view shell) {
  if (shell == "zsh") return zsh_completion();
  if (shell == "fish") return fish_completion();
  return bash_completion();
}

}  // namespace t2v::cli
