// SPDX-License-Identifier: Apache-2.0
#include "cli/layers.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "cli/option_table.hpp"
#include "cli/values.hpp"
#include "core/text.hpp"
#include "t2v/error.hpp"

namespace t2v::cli {

namespace {

using Json = nlohmann::ordered_json;

/// Two ways to say one thing: the stronger source's way replaces the other.
struct Rivals {
  std::string_view a, b;
};
constexpr std::array kRivals{
    Rivals{"frames", "seconds"},          Rivals{"prompt", "prompt-file"}, Rivals{"image", "first-frame-model"},
    Rivals{"overwrite", "skip-existing"}, Rivals{"verbose", "quiet"},
};

/// Facts about a run that are recorded beside its settings.
constexpr std::array<std::string_view, 10> kSettingsFacts{
    "schema",           "t2v",        "family",        "pipeline",    "model_hash", "lora_hash",
    "first_frame_hash", "frame_size", "sampler_class", "ai_generated"};

/// What a record may choose: the result, and where it was computed. A video from a stranger must not say what is
/// written, or where, or which file is read as the prompt.
bool is_recorded(const Option& option) {
  return option.get || option.name == "model" || option.name == "device" || option.name == "dtype";
}

const Given* given_in(const Layer& layer, std::string_view name) {
  const auto given = std::ranges::find(layer, name, &Given::name);
  return given == layer.end() ? nullptr : &*given;
}

void drop(Layer& layer, std::string_view name) {
  std::erase_if(layer, [&](const Given& given) { return given.name == name; });
}

/// What is said of an image that is made, where another is given instead.
void drop_first_frame(Layer& layer) {
  std::erase_if(layer, [](const Given& given) {
    return given.name.starts_with("first-frame-") || given.name == "keep-first-frame";
  });
}

/// --size becomes --width and --height, so that a stronger --width can replace half of it.
void expand_size(Layer& layer) {
  const Given* size = given_in(layer, "size");
  if (!size) return;
  constexpr int64_t kMaxSide = 16384;
  const std::string label = size->label;
  const auto [width, height] = parse_size(label, size->values.back(), kMaxSide);
  drop(layer, "size");
  for (const auto& [name, value] : {std::pair{"width", width}, std::pair{"height", height}}) {
    const std::string text = std::to_string(value);
    if (const Given* other = given_in(layer, name); other && other->values.back() != text) {
      throw Error(ErrorCode::usage, label + " and " + other->label + ": wanted one size, got two: " + text + " and " +
                                        other->values.back());
    }
    drop(layer, name);
    layer.push_back({name, {text}, label});
  }
}

void refuse_rivals(const Layer& layer) {
  for (const auto& [a, b] : kRivals) {
    const Given* first = given_in(layer, a);
    const Given* second = given_in(layer, b);
    if (first && second) {
      throw Error(ErrorCode::usage, first->label + " and " + second->label + ": wanted one of them, got both");
    }
  }
}

std::vector<std::string> json_values(const Json& value, const Option& option, const std::string& label) {
  const auto text_of = [&](const Json& item) -> std::string {
    if (item.is_string()) return item.get<std::string>();
    if (item.is_number() || item.is_boolean()) return item.dump();
    throw Error(ErrorCode::usage, label + ": wanted " +
                                      (option.value.empty() ? "true or false" : std::string(option.value)) + ", got " +
                                      std::string(item.type_name()));
  };
  std::vector<std::string> values;
  if (value.is_array() && option.repeats) {
    for (const auto& item : value) values.push_back(text_of(item));
  } else {
    values.push_back(text_of(value));
  }
  return values;
}

std::string read_text(std::istream& in, const std::string& where) {
  constexpr size_t kMaxPrompt = size_t{1} << 20;
  std::string text(kMaxPrompt + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kMaxPrompt) {
    throw Error(ErrorCode::usage, where + ": wanted a prompt of at most 1 MiB, got more");
  }
  return text;
}

/// Without byte order mark, carriage returns and the line end of an editor.
std::string tidy_prompt(std::string text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  std::erase(text, '\r');
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace

bool is_settings_fact(std::string_view key) { return std::ranges::find(kSettingsFacts, key) != kSettingsFacts.end(); }

Layer read_json(const Json& object, const std::string& where, bool recorded) {
  if (!object.is_object()) {
    throw Error(ErrorCode::usage, where + ": wanted an object of flag names, got " + object.type_name());
  }
  Layer layer;
  for (const auto& [key, value] : object.items()) {
    if (value.is_null() || (recorded && is_settings_fact(key))) continue;
    constexpr size_t kShown = 80;  // of a name that is none
    const std::string label =
        where + ": " + (key.size() > kShown ? replace_invalid_utf8(key.substr(0, kShown)) + "..." : key);
    const Option* option = find_option(key, Command::generate);
    if (!option) {
      if (recorded) continue;  // written by a later version
      auto names = long_names(Command::generate);
      for (auto& name : names) name.erase(0, 2);
      throw Error(ErrorCode::usage, label + ": wanted a flag name, got an unknown one", did_you_mean(key, names));
    }
    if (recorded && !is_recorded(*option)) continue;
    if (given_in(layer, option->name)) {
      throw Error(ErrorCode::usage,
                  label + ": wanted each setting once, got '" + std::string(option->name) + "' twice");
    }
    layer.push_back({std::string(option->name), json_values(value, *option, label), label});
    if (layer.back().values.empty()) layer.pop_back();
  }
  expand_size(layer);
  refuse_rivals(layer);
  return layer;
}

Layer merge(Layer lower, const Layer& upper) {
  for (const auto& given : upper) {
    drop(lower, given.name);
    for (const auto& [a, b] : kRivals) {
      if (given.name == a) drop(lower, b);
      if (given.name == b) drop(lower, a);
    }
    if (given.name == "image") drop_first_frame(lower);
  }
  lower.insert(lower.end(), upper.begin(), upper.end());
  return lower;
}

void expand_prompt(Layer& layer, bool standard_input_allowed) {
  if (const Given* file = given_in(layer, "prompt-file")) {
    const std::string path = file->values.back();
    std::ifstream in(path, std::ios::binary);
    std::error_code ignored;
    if (!in || std::filesystem::is_directory(path, ignored)) {
      throw Error(ErrorCode::bad_input, file->label + ": " + path + ": wanted a readable file, got none");
    }
    Given prompt{"prompt", {tidy_prompt(read_text(in, path))}, file->label};
    drop(layer, "prompt-file");
    layer.push_back(std::move(prompt));
    return;
  }
  const auto prompt = std::ranges::find(layer, "prompt", &Given::name);
  if (prompt == layer.end() || !standard_input_allowed || prompt->values.back() != "-") return;
  prompt->values = {tidy_prompt(read_text(std::cin, "standard input"))};
}

Invocation build(Command command, std::vector<std::string> operands, Layer given) {
  expand_size(given);
  refuse_rivals(given);
  Invocation invocation;
  invocation.command = command;
  invocation.operands = std::move(operands);
  for (const auto& item : given) {
    const Option* option = find_option(item.name, command);
    if (!option) continue;  // a setting of another command, from a shared file
    for (const auto& value : item.values) option->set(invocation, *option, {item.label, value});
  }
  if (invocation.request.seed && *invocation.request.seed == -1) invocation.request.seed.reset();
  if (!invocation.request.end_image.empty() && invocation.request.image.empty()) {
    throw Error(ErrorCode::usage, "--end-image: wanted --image beside it, got none");
  }
  invocation.given = std::move(given);
  return invocation;
}

Invocation parse(const std::vector<std::string>& arguments) {
  CommandLine line = read_command_line(arguments);
  expand_size(line.given);
  refuse_rivals(line.given);
  Layer given = std::move(line.given);
  if (const Given* config = given_in(given, "config")) {
    given = merge(read_config(config->values.back(), line.command), given);
  }
  Invocation quick = build(line.command, line.operands, given);
  if (quick.show.any()) return quick;  // --help never waits for standard input
  expand_prompt(given, line.command == Command::generate);
  return build(line.command, std::move(line.operands), std::move(given));
}

}  // namespace t2v::cli
