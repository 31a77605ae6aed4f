// SPDX-License-Identifier: Apache-2.0
// ClipBpe::open: the file forms of a CLIP tokenizer folder.
#include <limits>

#include "io/json_error.hpp"
#include "io/mmap_file.hpp"
#include "io/model_links.hpp"
#include "t2v/error.hpp"
#include "text/clip_bpe.hpp"
#include "text/unicode.hpp"

namespace t2v::text {

namespace fs = std::filesystem;
using io::Json;

namespace {

constexpr size_t kMaxFileBytes = size_t{16} << 20;  // CLIP's are 1 MB

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::bad_input, "bad tokenizer: " + where + ": " + what);
}

int64_t token_id(const Json& value, const std::string& token, const std::string& where) {
  if (!value.is_number_unsigned() ||
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) {
    fail(where, "'" + io::printable(token, 40) + "': wanted a token id, got " + io::printable(value.dump(), 40));
  }
  return value.get<int64_t>();
}

ClipBpe::Vocabulary read_vocabulary(const Json& json, const std::string& where) {
  if (!json.is_object() || json.empty()) fail(where, "wanted an object of tokens and ids");
  ClipBpe::Vocabulary out;
  out.reserve(json.size());
  for (const auto& [token, id] : json.items()) {
    out.emplace_back(token, token_id(id, token, where));
  }
  return out;
}

std::pair<std::string, std::string> split_merge(std::string_view line, const std::string& where, size_t number) {
  const size_t space = line.find(' ');
  if (space == line.npos || line.find(' ', space + 1) != line.npos) {
    fail(where, "merge " + std::to_string(number) + ": wanted two tokens, got '" + io::printable(line, 60) + "'");
  }
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

ClipBpe::Merges read_merges_file(const fs::path& file) {
  const std::string text = io::read_file(file, kMaxFileBytes);
  ClipBpe::Merges out;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    out.push_back(split_merge(line, file.string(), out.size()));
  }
  return out;
}

ClipBpe::Merges read_merges_array(const Json& json, const std::string& where) {
  if (!json.is_array()) fail(where, std::string("merges: wanted an array, got ") + json.type_name());
  ClipBpe::Merges out;
  out.reserve(json.size());
  for (const Json& merge : json) {
    if (merge.is_string()) {
      out.push_back(split_merge(merge.get_ref<const std::string&>(), where, out.size()));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      out.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      fail(where,
           "merge " + std::to_string(out.size()) + ": wanted two tokens, got " + io::printable(merge.dump(), 60));
    }
  }
  return out;
}

/// The vocabulary that goes with these merges in OpenAI's CLIP (clip/simple_tokenizer.py): the letters of all bytes in
/// the order of GPT-2's table, the same at a word's end, every merge, begin and end.
ClipBpe::Vocabulary vocabulary_of(const ClipBpe::Merges& merges) {
  std::vector<std::string> printable, others;
  const auto letters = ClipBpe::byte_letters();
  for (size_t byte = 0; byte < letters.size(); ++byte) {
    const bool stands_for_itself = first_code_point(letters[byte]).value == byte;
    (stands_for_itself ? printable : others).push_back(letters[byte]);
  }
  printable.insert(printable.end(), others.begin(), others.end());
  ClipBpe::Vocabulary out;
  const auto add = [&](std::string token) {
    const auto id = static_cast<int64_t>(out.size());
    out.emplace_back(std::move(token), id);
  };
  for (const char* end : {"", "</w>"}) {
    for (const auto& letter : printable) add(std::string(letter).append(end));
  }
  for (const auto& [left, right] : merges) add(left + right);
  add("<|startoftext|>");
  add("<|endoftext|>");
  return out;
}

NamedTokens clip_defaults() {
  const NamedToken end{"<|endoftext|>", std::nullopt};
  return {.bos = NamedToken{"<|startoftext|>", std::nullopt}, .eos = end, .unk = end, .pad = end};
}

}  // namespace

std::unique_ptr<ClipBpe> ClipBpe::open(const fs::path& folder) {
  for (const char* name : {"tokenizer.json", "vocab.json", "merges.txt"})
    io::refuse_foreign_link(folder / name, folder.parent_path());
  if (const fs::path file = folder / "tokenizer.json"; fs::exists(file)) {
    const Json json = io::load_json(file, {.max_bytes = kMaxFileBytes, .max_depth = 32});
    const std::string where = file.string();
    if (!json.is_object() || !json.contains("model") || !json.at("model").is_object()) fail(where, "no model");
    const Json& model = json.at("model");
    if (model.contains("type") && model.at("type") != "BPE") {
      fail(where, "model type: wanted BPE, got " + io::printable(model.at("type").dump(), 40));
    }
    if (!model.contains("vocab") || !model.contains("merges")) fail(where, "no vocab or no merges");
    const Json* added = json.contains("added_tokens") ? &json.at("added_tokens") : nullptr;
    return std::make_unique<ClipBpe>(read_vocabulary(model.at("vocab"), where),
                                     read_merges_array(model.at("merges"), where),
                                     read_settings(folder, clip_defaults(), added), where);
  }
  const fs::path vocabulary = folder / "vocab.json";
  const fs::path merges = folder / "merges.txt";
  if (fs::exists(merges) && !fs::exists(vocabulary)) {
    const auto pairs = read_merges_file(merges);
    return std::make_unique<ClipBpe>(vocabulary_of(pairs), pairs, read_settings(folder, clip_defaults(), nullptr),
                                     merges.string());
  }
  if (!fs::exists(merges)) {
    throw Error(ErrorCode::bad_input,
                "bad tokenizer: " + folder.string() + ": wanted vocab.json and merges.txt, or tokenizer.json",
                "download the whole tokenizer folder of the model");
  }
  return std::make_unique<ClipBpe>(
      read_vocabulary(io::load_json(vocabulary, {.max_bytes = kMaxFileBytes, .max_depth = 2}), vocabulary.string()),
      read_merges_file(merges), read_settings(folder, clip_defaults(), nullptr), vocabulary.string());
}

}  // namespace t2v::text
