// SPDX-License-Identifier: Apache-2.0
#include "cli/values.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "core/text.hpp"
#include "t2v/error.hpp"

namespace t2v::cli {

namespace {

[[noreturn]] void refuse(std::string_view label, const std::string& wanted, std::string_view got,
                         const std::string& hint = {}) {
  throw Error(ErrorCode::usage, std::string(label) + ": wanted " + wanted + ", got '" + std::string(got) + "'", hint);
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

template <typename T>
bool read_all(std::string_view text, T& value, std::errc* problem = nullptr) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem) *problem = error;
  return error == std::errc{} && end == text.data() + text.size();
}

std::string nearest(std::string_view value) { return "the nearest legal value is " + std::string(value); }

/// Rates that are written rounded: 1000/1001 of a whole number of frames a second (SMPTE ST 428-11,
/// ITU-R BT.601).
std::optional<Rational> broadcast_rate(double value) {
  constexpr std::array kWhole{24, 30, 48, 60, 120};
  constexpr double kRounding = 0.005;  // "23.98" for 23.976...
  for (const int whole : kWhole) {
    if (std::abs(value - whole * 1000.0 / 1001.0) < kRounding) return Rational{whole * 1000, 1001};
  }
  return std::nullopt;
}

Rational reduce(int64_t num, int64_t den) {
  const int64_t common = std::gcd(num, den);
  return {num / common, den / common};
}

std::optional<Rational> read_decimal(std::string_view text) {
  const auto point = text.find('.');
  const std::string_view whole = text.substr(0, point);
  const std::string_view fraction = point == std::string_view::npos ? std::string_view{} : text.substr(point + 1);
  if (whole.empty() || whole.size() > 6 || fraction.size() > 6) return std::nullopt;
  int64_t num = 0;
  int64_t den = 1;
  for (const char c : std::string(whole) + std::string(fraction)) {
    if (c < '0' || c > '9') return std::nullopt;
    num = num * 10 + (c - '0');
  }
  for (size_t i = 0; i < fraction.size(); ++i) den *= 10;
  if (num == 0) return Rational{0, 1};
  if (fraction.size() >= 2) {
    if (const auto rate = broadcast_rate(static_cast<double>(num) / static_cast<double>(den))) return rate;
  }
  return reduce(num, den);
}

std::optional<Rational> read_rational(std::string_view text) {
  const auto slash = text.find_first_of("/:");
  if (slash == std::string_view::npos) return read_decimal(text);
  int64_t num = 0;
  int64_t den = 0;
  if (!read_all(text.substr(0, slash), num) || !read_all(text.substr(slash + 1), den)) return std::nullopt;
  if (num < 0 || den <= 0) return std::nullopt;
  return num == 0 ? Rational{0, 1} : reduce(num, den);
}

}  // namespace

int64_t parse_integer(std::string_view label, std::string_view text, int64_t min, int64_t max) {
  const std::string range = max == INT64_MAX
                                ? (min == INT64_MIN ? "a whole number" : "a whole number from " + std::to_string(min))
                                : "a whole number from " + std::to_string(min) + " to " + std::to_string(max);
  int64_t value = 0;
  std::errc problem{};
  if (!read_all(trim(text), value, &problem)) {
    if (problem != std::errc::result_out_of_range) refuse(label, range, text);
    value = trim(text).starts_with('-') ? INT64_MIN : INT64_MAX;
    refuse(label, range, text, nearest(std::to_string(std::clamp(value, min, max))));
  }
  if (value < min || value > max) {
    refuse(label, range, text, nearest(std::to_string(std::clamp(value, min, max))));
  }
  return value;
}

double parse_number(std::string_view label, std::string_view text, double min, double max) {
  const std::string range = "a number from " + number_text(min) + " to " + number_text(max);
  double value = 0;
  if (!read_all(trim(text), value) || !std::isfinite(value)) refuse(label, range, text);
  if (value < min || value > max) {
    refuse(label, range, text, nearest(number_text(std::clamp(value, min, max))));
  }
  return value;
}

Rational parse_rational(std::string_view label, std::string_view text, double min, double max) {
  const std::string range =
      "a rate from " + number_text(min) + " to " + number_text(max) + " (like 8, 12.5, 23.976 or 24000/1001)";
  const auto value = read_rational(trim(text));
  constexpr int64_t kLimit = INT32_MAX;  // libav keeps both parts in an int
  if (!value || value->num > kLimit || value->den > kLimit) refuse(label, range, text);
  if (value->value() < min || value->value() > max) {
    refuse(label, range, text, nearest(number_text(std::clamp(value->value(), min, max))));
  }
  return *value;
}

bool parse_bool(std::string_view label, std::string_view text) {
  for (const std::string_view yes : {"true", "yes", "on", "1"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"false", "no", "off", "0"}) {
    if (text == no) return false;
  }
  refuse(label, "true or false", text);
}

std::string parse_choice(std::string_view label, std::string_view text, std::string_view choices) {
  const auto plain = [](std::string_view word) {
    std::string out(word);
    for (char& c : out) c = c == '-' ? '_' : (c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
    return out;
  };
  const auto words = split_words(choices);
  for (const auto& word : words) {
    if (plain(word) == plain(trim(text))) return word;
  }
  refuse(label, "one of " + std::string(choices), text,
         closest(text, words) ? did_you_mean(text, words) : std::string{});
}

std::pair<int64_t, int64_t> parse_size(std::string_view label, std::string_view text, int64_t max) {
  const auto cross = text.find_first_of("xX*");
  if (cross == std::string_view::npos) refuse(label, "a size like 512x320", text);
  return {parse_integer(label, text.substr(0, cross), 1, max), parse_integer(label, text.substr(cross + 1), 1, max)};
}

std::string number_text(double value) {
  std::array<char, 32> buffer{};
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return {buffer.data(), end};
}

std::string rational_text(const Rational& rate) {
  return rate.den == 1 ? std::to_string(rate.num) : std::to_string(rate.num) + "/" + std::to_string(rate.den);
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  while (true) {
    const auto first = text.find_first_not_of(' ');
    if (first == std::string_view::npos) return words;
    text.remove_prefix(first);
    const auto length = std::min(text.find(' '), text.size());
    words.emplace_back(text.substr(0, length));
    text.remove_prefix(length);
  }
}

}  // namespace t2v::cli
