// SPDX-License-Identifier: Apache-2.0
// Strict JSON reading: one parse function with limits, and Config, which reads a component's config.json by diffusers'
// keys and remembers what was read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace t2v::io {

using Json = nlohmann::ordered_json;

struct JsonLimits {
  size_t max_bytes = size_t{1} << 20;  ///< of the text
  int max_depth = 16;
  bool allow_nonfinite = false;        ///< accept the literals Infinity, -Infinity, NaN (Python writes them)
  size_t max_items = size_t{1} << 21;  ///< values and keys together
};

/// Parses one JSON document. Refuses duplicate keys, excess depth or size, and trailing text, with Error{bad_input}
/// that begins with `where` (a file name).
Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits = {});
Json load_json(const std::filesystem::path& file, const JsonLimits& limits = {});

/// Typed view of a config object. A missing or null key gives the fallback; a wrong type is Error{bad_input} naming
/// file, key, wanted and got. Not thread-safe (it remembers which keys were read).
class Config {
 public:
  Config(Json object, std::string where);
  static Config load(const std::filesystem::path& file);

  bool has(std::string_view key) const;  ///< present and not null
  int64_t get_int(std::string_view key, std::optional<int64_t> fallback = std::nullopt, int64_t min = INT64_MIN,
                  int64_t max = INT64_MAX) const;
  double get_double(std::string_view key, std::optional<double> fallback = std::nullopt) const;
  bool get_bool(std::string_view key, std::optional<bool> fallback = std::nullopt) const;
  std::string get_string(std::string_view key, std::optional<std::string> fallback = std::nullopt) const;
  std::vector<std::string> get_strings(std::string_view key,
                                       std::optional<std::vector<std::string>> fallback = std::nullopt) const;
  std::vector<double> get_doubles(std::string_view key,
                                  std::optional<std::vector<double>> fallback = std::nullopt) const;
  /// A list of `count` integers; a scalar in the file stands for `count` copies (diffusers' habit).
  std::vector<int64_t> get_ints(std::string_view key, size_t count,
                                std::optional<std::vector<int64_t>> fallback = std::nullopt, int64_t min = INT64_MIN,
                                int64_t max = INT64_MAX) const;
  /// A list of integers of any length.
  std::vector<int64_t> get_int_list(std::string_view key, std::optional<std::vector<int64_t>> fallback = std::nullopt,
                                    int64_t min = INT64_MIN, int64_t max = INT64_MAX) const;

  /// Refuses a key that is known but not implemented: Error{unsupported} unless it is absent, null or equals `allowed`.
  void require(std::string_view key, const Json& allowed, std::string_view why) const;

  std::vector<std::string> unread_keys() const;  ///< keys no getter asked for, without those starting with '_'
  const Json& json() const { return object_; }
  const std::string& where() const { return where_; }  ///< file name for messages

 private:
  const Json* find(std::string_view key) const;  ///< null when absent or null in the file; remembers the key

  Json object_;
  std::string where_;
  mutable std::set<std::string, std::less<>> read_;
};

}  // namespace t2v::io
