// SPDX-License-Identifier: Apache-2.0
// How the rows of the option table reach the fields of Invocation: one setter and one getter a
// field type. Private to option_table.cpp.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "cli/option_table.hpp"
#include "cli/samplers.hpp"
#include "cli/values.hpp"
#include "t2v/error.hpp"

namespace t2v::cli {

using Json = nlohmann::ordered_json;

inline int64_t integer_limit(double limit) { return limit >= 9.2e18 ? INT64_MAX : static_cast<int64_t>(limit); }

inline void assign(std::string& field, const Option& option, const ValueText& value) {
  field = option.choices.empty() ? std::string(value.text) : parse_choice(value.label, value.text, option.choices);
}
inline void assign(std::filesystem::path& field, const Option&, const ValueText& value) {
  if (value.text.empty()) {
    throw Error(ErrorCode::usage, std::string(value.label) + ": wanted a file, got ''");
  }
  field = std::string(value.text);
}
inline void assign(int64_t& field, const Option& option, const ValueText& value) {
  field = parse_integer(value.label, value.text, integer_limit(option.min), integer_limit(option.max));
}
inline void assign(int& field, const Option& option, const ValueText& value) {
  int64_t wide = 0;
  assign(wide, option, value);
  field = static_cast<int>(wide);
}
inline void assign(double& field, const Option& option, const ValueText& value) {
  field = parse_number(value.label, value.text, option.min, option.max);
}
inline void assign(Rational& field, const Option& option, const ValueText& value) {
  field = parse_rational(value.label, value.text, option.min, option.max);
}
inline void assign(bool& field, const Option&, const ValueText& value) { field = parse_bool(value.label, value.text); }
inline void assign(RngDevice& field, const Option& option, const ValueText& value) {
  field = parse_choice(value.label, value.text, option.choices) == "cuda" ? RngDevice::cuda : RngDevice::cpu;
}
template <typename T>
void assign(std::optional<T>& field, const Option& option, const ValueText& value) {
  T plain{};
  assign(plain, option, value);
  field = plain;
}

template <auto Part, auto Field>
void set_field(Invocation& invocation, const Option& option, const ValueText& value) {
  assign((invocation.*Part).*Field, option, value);
}

/// A recorded path says which file, not where a user keeps it.
inline std::string path_for_record(const std::filesystem::path& path) { return path.filename().string(); }

inline std::optional<Json> to_json(const std::string& field) {
  if (field.empty()) return std::nullopt;
  return Json(field);
}
inline std::optional<Json> to_json(const std::filesystem::path& field) {
  if (field.empty()) return std::nullopt;
  return Json(path_for_record(field));
}
inline std::optional<Json> to_json(int64_t field) { return Json(field); }
inline std::optional<Json> to_json(double field) { return Json(field); }
inline std::optional<Json> to_json(const Rational& field) {
  return field.den == 1 ? Json(field.num) : Json(rational_text(field));
}
inline std::optional<Json> to_json(bool field) {
  if (!field) return std::nullopt;
  return Json(true);
}
inline std::optional<Json> to_json(RngDevice field) { return Json(field == RngDevice::cuda ? "cuda" : "cpu"); }
inline std::optional<Json> to_json(const std::optional<std::string>& field) {
  if (!field) return std::nullopt;
  return Json(*field);  // an empty negative prompt is a choice too
}
template <typename T>
std::optional<Json> to_json(const std::optional<T>& field) {
  if (!field) return std::nullopt;
  return to_json(*field);
}

template <auto Part, auto Field>
void get_field(const Invocation& invocation, const Option& option, Json& object) {
  if (auto value = to_json((invocation.*Part).*Field)) object[std::string(option.name)] = std::move(*value);
}

/// Recorded even when empty: "no prompt" is a setting.
inline void get_prompt(const Invocation& invocation, const Option& option, Json& object) {
  object[std::string(option.name)] = invocation.request.prompt;
}

inline void set_size(Invocation& invocation, const Option& option, const ValueText& value) {
  const auto [width, height] = parse_size(value.label, value.text, integer_limit(option.max));
  invocation.request.width = width;
  invocation.request.height = height;
}

inline void set_sampler(Invocation& invocation, const Option&, const ValueText& value) {
  invocation.request.sampler = parse_sampler(value.label, value.text);
}

inline void set_first_frame_sampler(Invocation& invocation, const Option&, const ValueText& value) {
  invocation.first_frame.sampler = parse_sampler(value.label, value.text);
}
inline void set_first_frame_size(Invocation& invocation, const Option& option, const ValueText& value) {
  const auto [width, height] = parse_size(value.label, value.text, integer_limit(option.max));
  invocation.first_frame.width = width;
  invocation.first_frame.height = height;
}
inline void get_first_frame_size(const Invocation& invocation, const Option& option, Json& object) {
  const FirstFrameOptions& image = invocation.first_frame;
  if (!image.width || !image.height) return;
  object[std::string(option.name)] = std::to_string(*image.width) + "x" + std::to_string(*image.height);
}
/// As --model: by the name alone.
inline void get_first_frame_model(const Invocation& invocation, const Option& option, Json& object) {
  if (invocation.first_frame.model.empty()) return;
  std::filesystem::path path = invocation.first_frame.model;
  if (!path.has_filename()) path = path.parent_path();  // "folder/"
  object[std::string(option.name)] = path_for_record(path);
}

inline void set_crf(Invocation& invocation, const Option& option, const ValueText& value) {
  assign(invocation.output.crf, option, value);
}
inline void get_crf(const Invocation& invocation, const Option& option, Json& object) {
  if (invocation.output.crf >= 0) object[std::string(option.name)] = invocation.output.crf;
}

inline void set_device(Invocation& invocation, const Option& option, const ValueText& value) {
  const auto colon = value.text.find(':');
  std::string device = parse_choice(value.label, value.text.substr(0, colon), option.choices);
  if (colon != std::string_view::npos) {
    if (device != "cuda") {
      throw Error(ErrorCode::usage, std::string(value.label) + ": wanted auto, cpu, cuda or cuda:N, got '" +
                                        std::string(value.text) + "'");
    }
    constexpr int64_t kMaxDevice = 127;
    const int64_t ordinal = parse_integer(value.label, value.text.substr(colon + 1), 0, kMaxDevice);
    device.append(1, ':').append(std::to_string(ordinal));
  }
  invocation.load.device = device;
}

/// FRAME:TEXT
inline void add_prompt_at(Invocation& invocation, const Option& option, const ValueText& value) {
  const auto colon = value.text.find(':');
  if (colon == std::string_view::npos) {
    throw Error(ErrorCode::usage,
                std::string(value.label) + ": wanted FRAME:TEXT, got '" + std::string(value.text) + "'");
  }
  const int64_t frame =
      parse_integer(value.label, value.text.substr(0, colon), integer_limit(option.min), integer_limit(option.max));
  invocation.request.prompt_at.emplace_back(frame, value.text.substr(colon + 1));
}
inline void get_prompt_at(const Invocation& invocation, const Option& option, Json& object) {
  for (const auto& [frame, text] : invocation.request.prompt_at) {
    object[std::string(option.name)].push_back(std::to_string(frame) + ":" + text);
  }
}

/// PATH[:WEIGHT]: a number after the last colon is the weight.
inline void add_lora(Invocation& invocation, const Option& option, const ValueText& value) {
  std::string path(value.text);
  double weight = 1.0;
  const auto colon = path.rfind(':');
  if (colon != std::string::npos && path.find_first_not_of("+-.0123456789eE", colon + 1) == std::string::npos) {
    weight = parse_number(value.label, std::string_view(path).substr(colon + 1), option.min, option.max);
    path.resize(colon);
  }
  if (path.empty()) {
    throw Error(ErrorCode::usage,
                std::string(value.label) + ": wanted PATH or PATH:WEIGHT, got '" + std::string(value.text) + "'");
  }
  invocation.load.loras.emplace_back(std::move(path), weight);
}
inline void get_loras(const Invocation& invocation, const Option& option, Json& object) {
  for (const auto& [path, weight] : invocation.load.loras) {
    object[std::string(option.name)].push_back(path_for_record(path) + ":" + number_text(weight));
  }
}

/// MOVE[:STRENGTH]
inline void add_camera(Invocation& invocation, const Option& option, const ValueText& value) {
  const auto colon = value.text.find(':');
  const std::string move = parse_choice(value.label, value.text.substr(0, colon), option.choices);
  const double strength = colon == std::string_view::npos
                              ? 1.0
                              : parse_number(value.label, value.text.substr(colon + 1), option.min, option.max);
  invocation.request.camera.emplace_back(move, strength);
}
inline void get_camera(const Invocation& invocation, const Option& option, Json& object) {
  for (const auto& [move, strength] : invocation.request.camera) {
    object[std::string(option.name)].push_back(move + ":" + number_text(strength));
  }
}

inline void more_verbose(Invocation& invocation, const Option&, const ValueText& value) {
  if (parse_bool(value.label, value.text)) ++invocation.run.verbosity;
}
inline void be_quiet(Invocation& invocation, const Option&, const ValueText& value) {
  if (parse_bool(value.label, value.text)) invocation.run.verbosity = -1;
}

}  // namespace t2v::cli
