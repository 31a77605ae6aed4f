// SPDX-License-Identifier: Apache-2.0
#include "io/config.hpp"

#include <cmath>
#include <utility>

#include "io/json_error.hpp"
#include "t2v/error.hpp"

namespace t2v::io {

namespace {

// The largest published config has about 100; what looks keys up in a list would take minutes with
// 100,000.
constexpr size_t kMaxKeys = 1000;

/// What a value looks like in a message: its text when short, else its type.
std::string describe(const Json& value) {
  switch (value.type()) {
    case Json::value_t::object: return "an object";
    case Json::value_t::array: return "a list of " + std::to_string(value.size());
    case Json::value_t::string: return "the string '" + printable(value.get_ref<const std::string&>(), 60) + "'";
    case Json::value_t::number_float: {
      const double number = value.get<double>();
      if (std::isnan(number)) return "NaN";
      if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
      break;
    }
    default: break;
  }
  return value.dump();
}

std::string wanted_integer(int64_t min, int64_t max) {
  const bool has_min = min != INT64_MIN, has_max = max != INT64_MAX;
  std::string wanted = "an integer";
  if (has_min && has_max) {
    wanted += " from " + std::to_string(min) + " to " + std::to_string(max);
  } else if (has_min) {
    wanted += " of at least " + std::to_string(min);
  } else if (has_max) {
    wanted += " of at most " + std::to_string(max);
  }
  return wanted;
}

/// Reads one value of a config with the key's name in every message.
struct Reader {
  const std::string& where;
  std::string_view key;

  [[noreturn]] void fail(const std::string& wanted, const std::string& got) const {
    throw Error(ErrorCode::bad_input,
                "bad config: " + where + ": " + printable(key, 60) + ": wanted " + wanted + ", got " + got);
  }
  int64_t integer(const Json& value, int64_t min, int64_t max) const {
    const bool fits = value.is_number_unsigned() ? value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)
                                                 : value.is_number_integer();
    if (!fits) fail(wanted_integer(min, max), describe(value));
    const auto number = value.get<int64_t>();
    if (number < min || number > max) fail(wanted_integer(min, max), describe(value));
    return number;
  }
  double number(const Json& value) const {
    if (!value.is_number()) fail("a number", describe(value));
    const auto number = value.get<double>();
    if (std::isnan(number)) fail("a number", "NaN");
    return number;
  }
  std::string text(const Json& value) const {
    if (!value.is_string()) fail("a string", describe(value));
    return value.get<std::string>();
  }
  [[noreturn]] void missing(const std::string& wanted) const { fail(wanted, "no such key"); }

  /// A list, or a scalar as a list of one.
  template <typename T, typename ReadOne>
  std::vector<T> list(const Json& value, const ReadOne& read_one) const {
    std::vector<T> out;
    if (!value.is_array()) {
      out.push_back(read_one(value));
      return out;
    }
    out.reserve(value.size());
    for (const auto& element : value) out.push_back(read_one(element));
    return out;
  }
};

}  // namespace

Config::Config(Json object, std::string where) : object_(std::move(object)), where_(std::move(where)) {
  if (!object_.is_object()) {
    throw Error(ErrorCode::bad_input, "bad config: " + where_ + ": wanted an object, got " + describe(object_));
  }
  if (object_.size() > kMaxKeys) {
    throw Error(ErrorCode::bad_input, "bad config: " + where_ + ": wanted at most " + std::to_string(kMaxKeys) +
                                          " keys, got " + std::to_string(object_.size()));
  }
}

Config Config::load(const std::filesystem::path& file) {
  return Config(load_json(file, {.allow_nonfinite = true}), file.string());
}

const Json* Config::find(std::string_view key) const {
  read_.emplace(key);
  const auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool Config::has(std::string_view key) const {
  const auto it = object_.find(key);
  return it != object_.end() && !it->is_null();
}

int64_t Config::get_int(std::string_view key, std::optional<int64_t> fallback, int64_t min, int64_t max) const {
  const Reader reader{where_, key};
  if (const Json* value = find(key)) return reader.integer(*value, min, max);
  if (!fallback) reader.missing(wanted_integer(min, max));
  return *fallback;
}

double Config::get_double(std::string_view key, std::optional<double> fallback) const {
  const Reader reader{where_, key};
  if (const Json* value = find(key)) return reader.number(*value);
  if (!fallback) reader.missing("a number");
  return *fallback;
}

bool Config::get_bool(std::string_view key, std::optional<bool> fallback) const {
  const Reader reader{where_, key};
  if (const Json* value = find(key)) {
    if (!value->is_boolean()) reader.fail("true or false", describe(*value));
    return value->get<bool>();
  }
  if (!fallback) reader.missing("true or false");
  return *fallback;
}

std::string Config::get_string(std::string_view key, std::optional<std::string> fallback) const {
  const Reader reader{where_, key};
  if (const Json* value = find(key)) return reader.text(*value);
  if (!fallback) reader.missing("a string");
  return *fallback;
}

std::vector<std::string> Config::get_strings(std::string_view key,
                                             std::optional<std::vector<std::string>> fallback) const {
  const Reader reader{where_, key};
  if (const Json* value = find(key)) {
    return reader.list<std::string>(*value, [&](const Json& one) { return reader.text(one); });
  }
  if (!fallback) reader.missing("a list of strings");
  return *fallback;
}

std::vector<double> Config::get_doubles(std::string_view key, std::optional<std::vector<double>> fallback) const {
  const Reader reader{where_, key};
  if (const Json* value = find(key)) {
    return reader.list<double>(*value, [&](const Json& one) { return reader.number(one); });
  }
  if (!fallback) reader.missing("a list of numbers");
  return *fallback;
}

std::vector<int64_t> Config::get_ints(std::string_view key, size_t count, std::optional<std::vector<int64_t>> fallback,
                                      int64_t min, int64_t max) const {
  const Reader reader{where_, key};
  const std::string wanted = "a list of " + std::to_string(count) + " integers";
  const Json* value = find(key);
  if (!value) {
    if (!fallback) reader.missing(wanted);
    return *fallback;
  }
  if (!value->is_array()) return std::vector<int64_t>(count, reader.integer(*value, min, max));
  if (value->size() != count) reader.fail(wanted, describe(*value));
  return reader.list<int64_t>(*value, [&](const Json& one) { return reader.integer(one, min, max); });
}

std::vector<int64_t> Config::get_int_list(std::string_view key, std::optional<std::vector<int64_t>> fallback,
                                          int64_t min, int64_t max) const {
  const Reader reader{where_, key};
  if (const Json* value = find(key)) {
    return reader.list<int64_t>(*value, [&](const Json& one) { return reader.integer(one, min, max); });
  }
  if (!fallback) reader.missing("a list of integers");
  return *fallback;
}

void Config::require(std::string_view key, const Json& allowed, std::string_view why) const {
  const Json* value = find(key);
  if (!value || *value == allowed) return;
  throw Error(ErrorCode::unsupported, "not supported: " + where_ + ": " + std::string(key) + ": wanted " +
                                          describe(allowed) + ", got " + describe(*value) +
                                          (why.empty() ? "" : " (" + std::string(why) + ")"));
}

std::vector<std::string> Config::unread_keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object_.items()) {
    if (!key.starts_with('_') && !read_.contains(key)) keys.push_back(key);
  }
  return keys;
}

}  // namespace t2v::io
