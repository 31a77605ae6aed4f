// SPDX-License-Identifier: Apache-2.0
// SpmTokenizer::open: the file forms of a T5 tokenizer folder.
#include <cmath>

#include "core/text.hpp"
#include "io/json_error.hpp"
#include "io/mmap_file.hpp"
#include "io/model_links.hpp"
#include "t2v/error.hpp"
#include "text/spm.hpp"
#include "text/spm_precheck.hpp"

namespace t2v::text {

namespace fs = std::filesystem;
using io::Json;

namespace {

constexpr size_t kMaxModelBytes = size_t{32} << 20;  // UMT5's tokenizer.json has 17 MB
constexpr size_t kMaxPieceBytes = 1024;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::bad_input, "bad tokenizer: " + where + ": " + what);
}

NamedTokens t5_defaults() {
  const auto token = [](const char* text) { return NamedToken{text, std::nullopt}; };
  return {.eos = token("</s>"), .unk = token("<unk>"), .pad = token("<pad>")};
}

std::string sentinel(int64_t index) { return "<extra_id_" + std::to_string(index) + ">"; }

bool names_sentinels(const std::vector<NamedToken>& tokens) {
  return std::ranges::any_of(tokens,
                             [](const NamedToken& t) { return t.content.find("<extra_id_") != t.content.npos; });
}

void append_sentinels(std::vector<NamedToken>& tokens, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back({sentinel(i), std::nullopt});
  }
}

std::string decode_base64(std::string_view text, const std::string& where) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (text.ends_with('=')) {
    text.remove_suffix(1);
  }
  std::string out;
  out.reserve(text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const size_t digit = kAlphabet.find(c);
    if (digit == kAlphabet.npos) fail(where, "precompiled_charsmap is not base64");
    bits = (bits << 6 | static_cast<uint32_t>(digit)) & 0xFFFFFF;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xFF);
    }
  }
  return out;
}

/// The first Precompiled normaliser; T5Tokenizer takes no other part of the file's normaliser.
std::string charsmap_of(const Json& json, const std::string& where) {
  if (!json.contains("normalizer") || !json.at("normalizer").is_object()) return {};
  const Json& normalizer = json.at("normalizer");
  const auto read = [&](const Json& part) -> std::string {
    if (!part.is_object() || !part.contains("type") || part.at("type") != "Precompiled") return {};
    const auto map = part.find("precompiled_charsmap");
    if (map == part.end() || !map->is_string()) return {};
    return decode_base64(map->get_ref<const std::string&>(), where);
  };
  if (!normalizer.contains("normalizers") || !normalizer.at("normalizers").is_array()) return read(normalizer);
  for (const Json& part : normalizer.at("normalizers")) {
    if (std::string map = read(part); !map.empty()) return map;
  }
  return {};
}

Unigram::Pieces read_pieces(const Json& model, const std::string& where) {
  if (model.contains("type") && model.at("type") != "Unigram") {
    fail(where, "model type: wanted Unigram, got " + io::printable(model.at("type").dump(), 40));
  }
  if (!model.contains("vocab") || !model.at("vocab").is_array()) fail(where, "no vocab");
  Unigram::Pieces pieces;
  pieces.reserve(model.at("vocab").size());
  for (const Json& row : model.at("vocab")) {
    if (!row.is_array() || row.size() != 2 || !row[0].is_string() || !row[1].is_number()) {
      fail(where, "piece " + std::to_string(pieces.size()) + ": wanted a text and a score");
    }
    pieces.emplace_back(row[0].get<std::string>(), row[1].get<double>());
    const auto& [text, score] = pieces.back();
    if (text.size() > kMaxPieceBytes) fail(where, "a piece of " + std::to_string(text.size()) + " bytes");
    if (!std::isfinite(score)) fail(where, "piece '" + io::printable(text, 40) + "': its score is not a number");
  }
  return pieces;
}

/// T5Tokenizer's extra tokens when it is built from tokenizer.json: those of the files, or the
/// sentinels.
std::unique_ptr<SpmTokenizer> open_json(const fs::path& folder, const fs::path& file) {
  const Json json = io::load_json(file, {.max_bytes = kMaxModelBytes, .max_depth = 32, .max_items = size_t{2} << 20});
  const std::string where = file.string();
  if (!json.is_object() || !json.contains("model") || !json.at("model").is_object()) fail(where, "no model");
  const Json* added = json.contains("added_tokens") ? &json.at("added_tokens") : nullptr;
  const TokenizerSettings settings = read_settings(folder, t5_defaults(), added);
  std::vector<NamedToken> extra = settings.extra.value_or(std::vector<NamedToken>{});
  if (!settings.extra) append_sentinels(extra, settings.extra_ids);
  return std::make_unique<SpmTokenizer>(read_pieces(json.at("model"), where), charsmap_of(json, where), settings, extra,
                                        where);
}

/// From spiece.model: its control and user-defined pieces are found in the prompt too, and the
/// sentinels follow its pieces, the last one first (transformers convert_slow_tokenizer.py,
/// T5Converter.convert_from_spm).
std::unique_ptr<SpmTokenizer> open_model(const fs::path& folder, const fs::path& file) {
  SpmModel model = read_spm_model(io::read_file(file, kMaxModelBytes), file.string());
  const TokenizerSettings settings = read_settings(folder, t5_defaults(), nullptr);
  std::vector<NamedToken> extra;
  Unigram::Pieces pieces;
  pieces.reserve(model.pieces.size() + static_cast<size_t>(settings.extra_ids));
  for (SpmPiece& piece : model.pieces) {
    if (piece.type == PieceType::control || piece.type == PieceType::user_defined) {
      extra.push_back(
          {piece.text,
           AddedToken{.content = piece.text, .normalized = false, .special = piece.type == PieceType::control}});
    }
    pieces.emplace_back(std::move(piece.text), static_cast<double>(piece.score));
  }
  for (int64_t i = settings.extra_ids - 1; i >= 0; --i) {
    pieces.emplace_back(sentinel(i), 0.0);
  }
  if (!names_sentinels(extra)) append_sentinels(extra, settings.extra_ids);
  return std::make_unique<SpmTokenizer>(std::move(pieces), model.charsmap, settings, settings.extra.value_or(extra),
                                        file.string());
}

}  // namespace

std::unique_ptr<SpmTokenizer> SpmTokenizer::open(const fs::path& folder) {
  for (const char* name : {"tokenizer.json", "spiece.model", "tokenizer.model"})
    io::refuse_foreign_link(folder / name, folder.parent_path());
  if (const fs::path file = folder / "tokenizer.json"; fs::exists(file)) return open_json(folder, file);
  for (const char* name : {"spiece.model", "tokenizer.model"}) {
    if (const fs::path file = folder / name; fs::exists(file)) return open_model(folder, file);
  }
  throw Error(ErrorCode::bad_input, "bad tokenizer: " + folder.string() + ": wanted spiece.model or tokenizer.json",
              "download the whole tokenizer folder of the model");
}

}  // namespace t2v::text
