// SPDX-License-Identifier: Apache-2.0
// Reads the part of TOML (https://toml.io/en/v1.0.0) that flat settings need: comments, [sections],
// key = value with basic and literal strings, numbers, booleans and arrays of those on one line;
// INI's bare words and ';' comments too. CLI11's own reader cuts a quoted prompt at '#', so it is
// not used.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "cli/layers.hpp"
#include "cli/option_table.hpp"
#include "core/text.hpp"
#include "t2v/error.hpp"

namespace t2v::cli {

namespace {

/// Reads one line from left to right.
class LineReader {
 public:
  LineReader(std::string_view text, std::string where) : text_(text), where_(std::move(where)) {}

  void skip_space() {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\t')) text_.remove_prefix(1);
  }
  bool at_end() {
    skip_space();
    return text_.empty() || text_.front() == '#' || text_.front() == ';';
  }
  bool take(char c) {
    skip_space();
    if (!text_.starts_with(c)) return false;
    text_.remove_prefix(1);
    return true;
  }
  std::string key() {
    skip_space();
    if (text_.starts_with('"') || text_.starts_with('\'')) return quoted();
    const auto length = std::min(text_.find_first_of("=]# \t"), text_.size());
    if (length == 0) refuse("a name");
    return std::string(taken(length));
  }
  std::vector<std::string> value() {
    if (!take('[')) return {scalar("#;")};
    std::vector<std::string> values;
    while (!take(']')) {
      values.push_back(scalar(",]"));
      if (!take(',') && !text_.starts_with(']')) refuse("',' or ']'");
    }
    return values;
  }
  [[noreturn]] void refuse(const std::string& wanted) const {
    throw Error(ErrorCode::usage, where_ + ": wanted " + wanted + ", got '" + std::string(text_.substr(0, 40)) + "'");
  }

 private:
  std::string_view taken(size_t length) {
    const auto part = text_.substr(0, length);
    text_.remove_prefix(length);
    return part;
  }
  /// A quoted string, or bare text up to one of `stops`.
  std::string scalar(std::string_view stops) {
    skip_space();
    if (text_.starts_with('"') || text_.starts_with('\'')) return quoted();
    auto part = taken(std::min(text_.find_first_of(stops), text_.size()));
    while (part.ends_with(' ') || part.ends_with('\t')) part.remove_suffix(1);
    if (part.empty()) refuse("a value");
    return std::string(part);
  }
  std::string quoted() {
    const char quote = taken(1).front();
    std::string out;
    while (true) {
      if (text_.empty()) refuse(std::string("a closing ") + quote);
      const char c = taken(1).front();
      if (c == quote) return out;
      out += c == '\\' && quote == '"' ? escape() : std::string(1, c);
    }
  }
  std::string escape() {
    if (text_.empty()) refuse("a character after '\\'");
    const char c = taken(1).front();
    switch (c) {
      case 'n': return "\n";
      case 't': return "\t";
      case 'r': return "\r";
      case 'b': return "\b";
      case 'f': return "\f";
      case '"':
      case '\\': return std::string(1, c);
      case 'u': return code_point(4);
      case 'U': return code_point(8);
      default: refuse("an escape of TOML");
    }
  }
  std::string code_point(size_t digits) {
    uint32_t value = 0;
    if (text_.size() < digits) refuse("hexadecimal digits");
    for (const char c : taken(digits)) {
      const int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
      if (digit < 0) refuse("hexadecimal digits");
      value = value * 16 + static_cast<uint32_t>(digit);
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) refuse("a Unicode scalar value");
    std::string out;
    if (value < 0x80) return {static_cast<char>(value)};
    const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((value >> shift) & 0x3F)); };
    if (value < 0x800) return {static_cast<char>(0xC0 | (value >> 6)), tail(0)};
    if (value < 0x10000) return {static_cast<char>(0xE0 | (value >> 12)), tail(6), tail(0)};
    return {static_cast<char>(0xF0 | (value >> 18)), tail(12), tail(6), tail(0)};
  }

  std::string_view text_;
  std::string where_;
};

std::string read_file(const std::filesystem::path& file) {
  std::error_code ignored;
  std::ifstream in(file, std::ios::binary);
  if (!in || std::filesystem::is_directory(file, ignored)) {
    throw Error(ErrorCode::bad_input, "--config: " + file.string() + ": wanted a readable file, got none");
  }
  constexpr size_t kMaxBytes = size_t{1} << 20;
  std::string text(kMaxBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kMaxBytes) {
    throw Error(ErrorCode::bad_input, "--config: " + file.string() + ": wanted at most 1 MiB, got more");
  }
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

bool is_command(const std::string& name) {
  return std::ranges::find(commands(), name, &CommandRow::name) != commands().end();
}

}  // namespace

Layer read_config(const std::filesystem::path& file, Command command) {
  std::istringstream lines(read_file(file));
  const std::string shown = file.filename().string();
  Layer layer;
  std::string line;
  bool applies = true;
  for (int64_t number = 1; std::getline(lines, line); ++number) {
    if (line.ends_with('\r')) line.pop_back();
    const std::string where = shown + ": line " + std::to_string(number);
    LineReader reader(line, where);
    if (reader.at_end()) continue;
    if (reader.take('[')) {
      const std::string section = reader.key();
      if (!reader.take(']') || !reader.at_end()) reader.refuse("[COMMAND]");
      if (!is_command(section)) {
        throw Error(ErrorCode::usage, where + ": wanted a section named after a command, got [" + section + "]");
      }
      applies = section == command_row(command).name;
      continue;
    }
    const std::string name = reader.key();
    if (!reader.take('=')) reader.refuse("'='");
    auto values = reader.value();
    if (!reader.at_end()) reader.refuse("the end of the line");
    const Option* option = find_option(name);
    if (!option || option->group == Group::information || option->name == "config") {
      auto names = long_names(Command::generate);
      for (auto& known : names) known.erase(0, 2);
      throw Error(ErrorCode::usage, where + ": unknown option '" + name + "'", did_you_mean(name, names));
    }
    if (values.size() != 1 && !option->repeats) {
      throw Error(ErrorCode::usage, where + ": " + name + ": wanted one value, got " + std::to_string(values.size()));
    }
    if (!applies || values.empty()) continue;
    layer = merge(std::move(layer), {{std::string(option->name), std::move(values), where + ": " + name}});
  }
  return layer;
}

}  // namespace t2v::cli
