// SPDX-License-Identifier: Apache-2.0
// Tokenizer folders for the tests: the CLIP vocabulary rebuilt from its merges, temporary folders,
// golden files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "io/config.hpp"
#include "t2v/error.hpp"
#include "text/unicode.hpp"

namespace t2v::test {

namespace fs = std::filesystem;
using io::Json;

inline const fs::path kGolden = fs::path(T2V_TEST_DATA) / "golden" / "text";
inline const fs::path kMerges = fs::path(T2V_SOURCE_DIR) / "models" / "clip-tokenizer" / "merges.txt";

inline std::string read_text(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::runtime_error("can't read " + file.string());
  return (std::ostringstream() << stream.rdbuf()).str();
}

inline std::vector<std::string> read_lines(const fs::path& file) {
  std::vector<std::string> lines;
  std::istringstream stream(read_text(file));
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

/// A folder of its own, removed with the object.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (fs::temp_directory_path() / "t2v_text_XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const fs::path& path() const { return path_; }
  void write(const std::string& name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
  }
  /// Each member is a file: text as it is, anything else as JSON.
  void write_all(const Json& files) const {
    for (const auto& [name, content] : files.items()) {
      write(name, content.is_string() ? content.get<std::string>() : content.dump());
    }
  }

 private:
  fs::path path_;
};

/// CLIP's vocabulary follows from its merges: 256 byte letters, the same with </w>, each merge, two
/// special tokens.
inline Json clip_vocabulary() {
  std::vector<std::string> letters, others;
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
    std::string letter;
    text::append_utf8(letter, printable ? byte : next++);
    (printable ? letters : others).push_back(letter);
  }
  letters.insert(letters.end(), others.begin(), others.end());
  std::vector<std::pair<std::string, Json>> tokens;
  const auto add = [&](const std::string& token) { tokens.emplace_back(token, tokens.size()); };
  for (const char* suffix : {"", "</w>"}) {
    for (const std::string& letter : letters) {
      add(letter + suffix);
    }
  }
  for (std::string line : read_lines(kMerges)) {
    if (line.starts_with("#version")) continue;
    add(line.erase(line.find(' '), 1));
  }
  add("<|startoftext|>");
  add("<|endoftext|>");
  std::string text = "{";  // as text: adding members to an ordered object one by one is quadratic
  for (const auto& [token, id] : tokens) {
    text += (text.size() > 1 ? "," : "") + Json(token).dump() + ":" + id.dump();
  }
  return io::parse_json(text + "}", "clip vocabulary", {.max_bytes = size_t{8} << 20});
}

/// The error that `call` throws.
template <class Call>
Error error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "wanted an error, got none";
  return Error(ErrorCode::internal, "");
}

inline std::vector<int64_t> without_padding(const std::vector<int64_t>& ids, const std::vector<uint8_t>& mask) {
  std::vector<int64_t> out;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (mask[i]) out.push_back(ids[i]);
  }
  return out;
}

}  // namespace t2v::test
