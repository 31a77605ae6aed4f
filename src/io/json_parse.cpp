// SPDX-License-Identifier: Apache-2.0
// parse_json: nlohmann's parser behind a SAX handler that builds the document and holds it to the
// limits.
#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_set>

#include "core/text.hpp"
#include "io/config.hpp"
#include "io/json_error.hpp"
#include "io/mmap_file.hpp"
#include "t2v/error.hpp"

namespace t2v::io {

namespace {

// JSON has no infinities and no NaN, Python's json module writes them all the same. They are
// replaced, outside strings, by numbers in a spelling no writer uses; the SAX interface hands over
// a number's text, so they can be told apart.
constexpr std::string_view kInfinityText = "9.0e00000000000000001";
constexpr std::string_view kNanText = "9.0e00000000000000002";

std::string replace_nonfinite(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 64);
  bool in_string = false;
  while (!text.empty()) {
    size_t take = 1;
    if (in_string) {
      if (text[0] == '\\' && text.size() > 1) take = 2;
      if (text[0] == '"') in_string = false;
    } else if (text[0] == '"') {
      in_string = true;
    } else if (text.starts_with("Infinity") || text.starts_with("NaN")) {
      // The spaces keep what touches the literal ("1Infinity", "NaN2") an error.
      const bool is_infinity = text[0] == 'I';
      if (out.empty() || out.back() != '-') out += ' ';
      out += is_infinity ? kInfinityText : kNanText;
      out += ' ';
      text.remove_prefix(is_infinity ? 8 : 3);
      continue;
    }
    out += text.substr(0, take);
    text.remove_prefix(take);
  }
  return out;
}

class DocumentBuilder {
 public:
  explicit DocumentBuilder(const JsonLimits& limits) : limits_(limits) {}

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(int64_t value) { return add(value); }
  bool number_unsigned(uint64_t value) { return add(value); }
  bool number_float(double value, const std::string& text) {
    if (limits_.allow_nonfinite && text.ends_with(kInfinityText)) {
      value = std::copysign(std::numeric_limits<double>::infinity(), text[0] == '-' ? -1.0 : 1.0);
    } else if (limits_.allow_nonfinite && text.ends_with(kNanText)) {
      value = std::numeric_limits<double>::quiet_NaN();
    }
    return add(value);
  }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }

  bool start_object(size_t) {
    if (!open(Json::object())) return false;
    keys_.emplace_back();
    return true;
  }
  bool end_object() {
    keys_.pop_back();
    open_.pop_back();
    return true;
  }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_array() {
    open_.pop_back();
    return true;
  }
  bool key(std::string& name) {
    if (!keys_.back().insert(name).second) {
      problem_ = "the key '" + printable(name) + "' appears twice";
      return false;
    }
    next_key_ = std::move(name);
    return true;
  }
  bool parse_error(size_t position, const std::string& token, const Json::exception& error) {
    problem_ = json_syntax_problem(position, token, error.id);
    return false;
  }

  const std::string& problem() const { return problem_; }
  Json take() { return std::move(root_); }

 private:
  bool add(Json value) { return place(std::move(value)) != nullptr; }

  bool open(Json container) {
    if (open_.size() >= static_cast<size_t>(limits_.max_depth)) {
      problem_ = "nested deeper than " + std::to_string(limits_.max_depth) + " levels";
      return false;
    }
    Json* placed = place(std::move(container));
    if (placed) open_.push_back(placed);
    return placed != nullptr;
  }

  // Parents stay where they are while a child is open, so the pointers in open_ are stable.
  Json* place(Json value) {
    if (++items_ > limits_.max_items) {
      problem_ = "more than " + std::to_string(limits_.max_items) + " values";
      return nullptr;
    }
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      auto& elements = parent.get_ref<Json::array_t&>();
      elements.push_back(std::move(value));
      return &elements.back();
    }
    // The base class's emplace_back: ordered_map's own insertion compares with every key before,
    // and the key is known to be new.
    Json::object_t::Container& members = parent.get_ref<Json::object_t&>();
    return &members.emplace_back(std::move(next_key_), std::move(value)).second;
  }

  JsonLimits limits_;
  Json root_;
  std::vector<Json*> open_;
  std::vector<std::unordered_set<std::string>> keys_;
  std::string next_key_, problem_;
  size_t items_ = 0;
};

}  // namespace

std::string printable(std::string_view text, size_t max_bytes) {
  std::string out;
  for (const char c : replace_invalid_utf8(text.substr(0, max_bytes))) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7F ? '?' : c;
  }
  if (text.size() > max_bytes) out += "...";
  return out;
}

std::string json_syntax_problem(size_t position, std::string_view token, int error_id) {
  // 406: the only number the parser itself refuses, one outside the range of double.
  const std::string what = error_id == 406 ? "a number too large to read" : "not JSON";
  return what + " at byte " + std::to_string(position) + ", near '" + printable(token, 40) + "'";
}

Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  const auto fail = [&](const std::string& what) -> Error {
    return Error(ErrorCode::bad_input, "bad JSON: " + where + ": " + what);
  };
  if (text.size() > limits.max_bytes) {
    throw fail("wanted at most " + human_bytes(static_cast<int64_t>(limits.max_bytes)) + ", got " +
               human_bytes(static_cast<int64_t>(text.size())));
  }
  // The parser takes a NUL for the end of the text and would not see what follows.
  if (const size_t nul = text.find('\0'); nul != text.npos) {
    throw fail("a NUL byte at byte " + std::to_string(nul));
  }
  if (text.find_first_not_of(" \t\r\n") == text.npos) throw fail("wanted a JSON document, got nothing");
  std::string replaced;
  DocumentBuilder builder(limits);
  if (limits.allow_nonfinite && (text.find("Infinity") != text.npos || text.find("NaN") != text.npos)) {
    if (text.find("9.0e0000000000000000") != text.npos) throw fail("a number in a form not accepted");
    replaced = replace_nonfinite(text);
    text = replaced;
  } else {
    JsonLimits plain = limits;
    plain.allow_nonfinite = false;
    builder = DocumentBuilder(plain);
  }
  if (!Json::sax_parse(text.data(), text.data() + text.size(), &builder)) throw fail(builder.problem());
  return builder.take();
}

Json load_json(const std::filesystem::path& file, const JsonLimits& limits) {
  return parse_json(read_file(file, limits.max_bytes), file.string(), limits);
}

}  // namespace t2v::io
