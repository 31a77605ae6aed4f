// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.hpp"

#include <array>

#include "core/text.hpp"
#include "t2v/error.hpp"
#include "text/clip_bpe.hpp"
#include "text/spm.hpp"

namespace t2v::text {

namespace {

struct Row {
  std::string_view class_name;
  std::unique_ptr<Tokenizer> (*open)(const std::filesystem::path&);
};

std::unique_ptr<Tokenizer> open_clip(const std::filesystem::path& folder) { return ClipBpe::open(folder); }
std::unique_ptr<Tokenizer> open_spm(const std::filesystem::path& folder) { return SpmTokenizer::open(folder); }

constexpr std::array<Row, 4> kRows{{{"CLIPTokenizer", open_clip},
                                    {"CLIPTokenizerFast", open_clip},
                                    {"T5Tokenizer", open_spm},
                                    {"T5TokenizerFast", open_spm}}};

}  // namespace

std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& folder, std::string_view class_name) {
  std::vector<std::string> known;
  for (const Row& row : kRows) {
    if (row.class_name == class_name) return row.open(folder);
    known.emplace_back(row.class_name);
  }
  throw Error(ErrorCode::unsupported,
              "tokenizer not supported: " + folder.string() + ": class '" + std::string(class_name) + "'",
              did_you_mean(class_name, known));
}

}  // namespace t2v::text
