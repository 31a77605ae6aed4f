// SPDX-License-Identifier: Apache-2.0
#include "text/settings.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <string_view>
#include <utility>

#include "io/json_error.hpp"
#include "io/model_links.hpp"
#include "t2v/error.hpp"

namespace t2v::text {

namespace fs = std::filesystem;
using io::Json;

namespace {

constexpr size_t kMaxTokenBytes = 4096;
constexpr size_t kMaxAddedTokens = 4096;  // T5 has 100; they are compared with each other
// transformers writes int(1e30) for "no limit"; no text encoder here takes a prompt near this
// length.
constexpr double kUnlimited = 1e6;

using Field = std::optional<NamedToken> NamedTokens::*;
constexpr std::array<std::pair<std::string_view, Field>, 7> kRoles{{{"bos_token", &NamedTokens::bos},
                                                                    {"eos_token", &NamedTokens::eos},
                                                                    {"unk_token", &NamedTokens::unk},
                                                                    {"sep_token", &NamedTokens::sep},
                                                                    {"pad_token", &NamedTokens::pad},
                                                                    {"cls_token", &NamedTokens::cls},
                                                                    {"mask_token", &NamedTokens::mask}}};

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::bad_input, "bad tokenizer: " + where + ": " + what);
}

bool flag(const Json& object, const char* key, bool fallback, const std::string& where) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return fallback;
  if (!it->is_boolean()) fail(where, std::string(key) + ": wanted true or false, got " + it->type_name());
  return it->get<bool>();
}

std::string token_text(const Json& value, const std::string& where) {
  if (!value.is_string()) fail(where, std::string("wanted a token's text, got ") + value.type_name());
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > kMaxTokenBytes) fail(where, "a token of " + std::to_string(text.size()) + " bytes");
  return text;
}

AddedToken token_from_object(const Json& object, const std::string& where, bool special) {
  const auto content = object.find("content");
  if (content == object.end()) fail(where, "an added token without 'content'");
  AddedToken token;
  token.content = token_text(*content, where);
  token.special = special || flag(object, "special", false, where);
  token.lstrip = flag(object, "lstrip", false, where);
  token.rstrip = flag(object, "rstrip", false, where);
  token.normalized = flag(object, "normalized", !token.special, where);
  if (flag(object, "single_word", false, where)) {
    throw Error(ErrorCode::unsupported,
                "tokenizer not supported: " + where + ": '" + io::printable(token.content) + "': single_word tokens");
  }
  return token;
}

/// `special`: what special_tokens_map.json implies for the tokens it writes as objects.
NamedToken named_token(const Json& value, const std::string& where, bool special) {
  if (!value.is_object()) return {token_text(value, where), std::nullopt};
  AddedToken token = token_from_object(value, where, special);
  return {token.content, token};
}

/// An empty list is an answer too: the class then adds none of its own.
std::optional<std::vector<NamedToken>> extra_tokens(const Json& config, const std::string& where, bool special) {
  bool is_given = false;
  for (const char* key : {"extra_special_tokens", "additional_special_tokens"}) {
    const auto it = config.find(key);
    if (it == config.end() || it->is_object()) continue;
    is_given = true;
    if (!it->is_array() || it->empty()) continue;
    if (it->size() > kMaxAddedTokens) fail(where, std::string(key) + ": too many tokens");
    std::vector<NamedToken> out;
    for (const Json& value : *it) {
      out.push_back(named_token(value, where + ": " + key, special));
    }
    return out;
  }
  if (is_given) return std::vector<NamedToken>{};
  return std::nullopt;
}

Json load_object(const fs::path& file) {
  if (!fs::exists(file)) return Json::object();
  io::refuse_foreign_link(file, file.parent_path().parent_path());
  Json json = io::load_json(file, {.max_bytes = size_t{16} << 20, .allow_nonfinite = true});
  if (!json.is_object()) fail(file.string(), std::string("wanted an object, got ") + json.type_name());
  return json;
}

void read_named(const Json& config, const std::string& where, bool special, NamedTokens& named) {
  for (const auto& [key, role] : kRoles) {
    const auto it = config.find(std::string(key));
    if (it == config.end()) continue;
    if (it->is_null()) {
      named.*role = std::nullopt;
    } else {
      named.*role = named_token(*it, where + ": " + std::string(key), special);
    }
  }
}

int64_t max_length(const Json& config, const std::string& where) {
  for (const char* key : {"model_max_length", "max_len"}) {
    const auto it = config.find(key);
    if (it == config.end() || it->is_null()) continue;
    if (!it->is_number()) fail(where, std::string(key) + ": wanted a number, got " + it->type_name());
    const double value = it->get<double>();
    if (value > kUnlimited) return 0;
    // Room for the begin and end tokens.
    if (!(value >= 2)) fail(where, std::string(key) + ": wanted at least 2, got " + it->dump());
    return static_cast<int64_t>(value);
  }
  return 0;
}

void refuse_left_side(const Json& config, const std::string& where) {
  for (const char* key : {"padding_side", "truncation_side"}) {
    const auto it = config.find(key);
    if (it == config.end() || it->is_null() || (it->is_string() && *it == "right")) continue;
    throw Error(ErrorCode::unsupported,
                "tokenizer not supported: " + where + ": " + key + ": wanted right, got " + io::printable(it->dump()));
  }
}

using ById = std::map<int64_t, AddedToken>;

int64_t parse_id(std::string_view text, const std::string& where) {
  int64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id < 0) {
    fail(where, "wanted a token id, got '" + io::printable(text, 40) + "'");
  }
  return id;
}

ById read_added_decoder(const Json& decoder, const std::string& where) {
  ById out;
  if (!decoder.is_object()) fail(where, std::string("wanted an object, got ") + decoder.type_name());
  for (const auto& [id, token] : decoder.items()) {
    if (!token.is_object()) fail(where, std::string("wanted an object, got ") + token.type_name());
    out[parse_id(id, where)] = token_from_object(token, where, false);
  }
  return out;
}

void read_added_file(const fs::path& file, const TokenizerSettings& settings, ById& out) {
  const Json tokens = load_object(file);
  for (const auto& row : tokens.items()) {
    const std::string& content = row.key();
    const Json& id = row.value();
    if (!id.is_number_unsigned()) fail(file.string(), "wanted a token id, got " + io::printable(id.dump(), 40));
    const auto is_content = [&](const auto& token) { return token.content == content; };
    bool special = settings.extra && std::ranges::any_of(*settings.extra, is_content);
    for (const auto& [key, role] : kRoles) {
      special = special || (settings.named.*role && is_content(*(settings.named.*role)));
    }
    out[static_cast<int64_t>(id.get<uint64_t>() & INT32_MAX)] = {
        .content = content, .normalized = !special, .special = special};
  }
}

void read_added_array(const Json& tokens, const std::string& where, ById& out) {
  if (!tokens.is_array()) fail(where, std::string("wanted an array, got ") + tokens.type_name());
  for (const Json& token : tokens) {
    if (!token.is_object() || !token.contains("id") || !token.at("id").is_number_unsigned()) {
      fail(where, "an added token without an id");
    }
    out[static_cast<int64_t>(token.at("id").get<uint64_t>() & INT32_MAX)] = token_from_object(token, where, false);
  }
}

}  // namespace

TokenizerSettings read_settings(const fs::path& folder, NamedTokens defaults, const Json* added_tokens) {
  const fs::path config_file = folder / "tokenizer_config.json";
  const Json config = load_object(config_file);
  TokenizerSettings settings{.named = std::move(defaults)};
  read_named(config, config_file.string(), false, settings.named);
  settings.extra = extra_tokens(config, config_file.string(), false);
  settings.model_max_length = max_length(config, config_file.string());
  refuse_left_side(config, config_file.string());
  if (const auto it = config.find("extra_ids"); it != config.end() && !it->is_null()) {
    if (!it->is_number_unsigned() || it->get<uint64_t>() > kMaxAddedTokens) {
      fail(config_file.string(),
           "extra_ids: wanted 0 to " + std::to_string(kMaxAddedTokens) + ", got " + io::printable(it->dump(), 40));
    }
    settings.extra_ids = it->get<int64_t>();
  }

  ById by_id;
  if (config.contains("added_tokens_decoder")) {
    // A config of transformers 4.34 or newer: it is complete, the map is not asked.
    by_id = read_added_decoder(config.at("added_tokens_decoder"), config_file.string() + ": added_tokens_decoder");
  } else {
    // The map wins over the config: SD 2 and ModelScope pad with "!" (id 0) because of it.
    const fs::path map_file = folder / "special_tokens_map.json";
    const Json map = load_object(map_file);
    read_named(map, map_file.string(), true, settings.named);
    if (map.contains("extra_special_tokens")) settings.extra = extra_tokens(map, map_file.string(), true);
    read_added_file(folder / "added_tokens.json", settings, by_id);
    if (added_tokens) read_added_array(*added_tokens, (folder / "tokenizer.json").string() + ": added_tokens", by_id);
  }
  if (by_id.size() > kMaxAddedTokens) fail(folder.string(), "too many added tokens");
  for (const auto& [id, token] : by_id) {
    for (const auto& [key, role] : kRoles) {
      auto& named = settings.named.*role;
      if (named && named->content == token.content) named->flags = token;
    }
    settings.added.push_back(token);
  }
  return settings;
}

std::vector<AddedToken> tokens_to_add(const TokenizerSettings& settings, const std::vector<NamedToken>& extra) {
  std::vector<NamedToken> out;
  for (const AddedToken& token : settings.added) {
    out.push_back({token.content, token});
  }
  const auto from_files = static_cast<std::ptrdiff_t>(out.size());
  const auto add = [&](const NamedToken& token) {
    const bool in_files = std::any_of(out.begin(), out.begin() + from_files,
                                      [&](const NamedToken& other) { return other.content == token.content; });
    if (!in_files && std::ranges::find(out, token) == out.end()) out.push_back(token);
  };
  for (const auto& [key, role] : kRoles) {
    if (settings.named.*role) add(*(settings.named.*role));
  }
  std::ranges::for_each(extra, add);

  std::vector<AddedToken> tokens;
  for (const NamedToken& token : out) {
    tokens.push_back(token.flags.value_or(AddedToken{.content = token.content, .normalized = false, .special = true}));
  }
  return tokens;
}

}  // namespace t2v::text
