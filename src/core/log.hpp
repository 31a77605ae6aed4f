// SPDX-License-Identifier: Apache-2.0
// The log: standard error, one line an event. error/warn: the user must know. info: a few lines a run. debug: per
// component. trace: per step. Data never goes here, it goes to standard output.
//
// spdlog stays behind log.cpp: libtorch's headers bring an fmt of their own, and two in one file do not compile.
#pragma once

#include <initializer_list>
#include <sstream>
#include <string>
#include <string_view>

namespace t2v::log {

enum class Level { trace, debug, info, warn, error };

/// `verbosity`: -1 quiet (errors only), 0 warnings and info, 1 debug, 2 trace. `json`: one JSON object a line.
void setup(int verbosity, bool json);

/// Writes `format` with each {} replaced by the next argument.
void write(Level level, std::string_view format, std::initializer_list<std::string> arguments);

template <class T>
std::string to_text(const T& value) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  out << value;
  return std::move(out).str();
}

template <class... Args>
void trace(std::string_view format, const Args&... args) {
  write(Level::trace, format, {to_text(args)...});
}
template <class... Args>
void debug(std::string_view format, const Args&... args) {
  write(Level::debug, format, {to_text(args)...});
}
template <class... Args>
void info(std::string_view format, const Args&... args) {
  write(Level::info, format, {to_text(args)...});
}
template <class... Args>
void warn(std::string_view format, const Args&... args) {
  write(Level::warn, format, {to_text(args)...});
}
template <class... Args>
void error(std::string_view format, const Args&... args) {
  write(Level::error, format, {to_text(args)...});
}

}  // namespace t2v::log
