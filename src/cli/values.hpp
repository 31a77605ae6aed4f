// SPDX-License-Identifier: Apache-2.0
// Text to values, whatever the locale. Each throws Error{usage} that begins with `label` and names
// the nearest legal value; NaN and infinities are never legal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "t2v/request.hpp"

namespace t2v::cli {

int64_t parse_integer(std::string_view label, std::string_view text, int64_t min, int64_t max);
double parse_number(std::string_view label, std::string_view text, double min, double max);
/// "24000/1001", "12.5" or a broadcast rate by its usual rounding ("23.976", "29.97", "59.94" are
/// 1000/1001 rates).
Rational parse_rational(std::string_view label, std::string_view text, double min, double max);
bool parse_bool(std::string_view label, std::string_view text);
/// One of `choices` (separated by spaces), matched without regard to case and with '-' for '_'.
std::string parse_choice(std::string_view label, std::string_view text, std::string_view choices);
/// "512x320"
std::pair<int64_t, int64_t> parse_size(std::string_view label, std::string_view text, int64_t max);

std::string number_text(double value);       ///< shortest text that reads back the same
std::string rational_text(const Rational&);  ///< "24" or "24000/1001"
std::vector<std::string> split_words(std::string_view text);

}  // namespace t2v::cli
