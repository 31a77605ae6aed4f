// SPDX-License-Identifier: Apache-2.0
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/clip_bpe.hpp"
#include "text/tokenizer.hpp"
#include "text_files.hpp"

namespace t2v::text {
namespace {

using test::Json;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kBegin = 49406, kEnd = 49407, kLength = 77;

/// Folders made once: vocab.json and merges.txt, plus the small files of each form.
class ClipTokenizer : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    forms_ = new Json(io::load_json(test::kGolden / "clip_forms.json"));
    vocabulary_ = new std::string(test::clip_vocabulary().dump());
  }
  static void TearDownTestSuite() {
    delete forms_;
    delete vocabulary_;
  }

  static std::unique_ptr<Tokenizer> open_form(const std::string& name) {
    test::TempFolder folder;
    folder.write("vocab.json", *vocabulary_);
    folder.write("merges.txt", test::read_text(test::kMerges));
    folder.write_all(forms_->at("forms").at(name).at("files"));
    return open_tokenizer(folder.path(), "CLIPTokenizer");
  }

  static void expect_probes(const Tokenizer& tokenizer, const std::string& name) {
    const Json& form = forms_->at("forms").at(name);
    for (size_t i = 0; i < forms_->at("probes").size(); ++i) {
      const std::string prompt = forms_->at("probes")[i].get<std::string>();
      auto wanted = form.at("ids")[i].get<std::vector<int64_t>>();
      std::vector<uint8_t> mask(wanted.size(), 1);
      wanted.resize(kLength, form.at("pad").get<int64_t>());
      mask.resize(kLength, 0);
      const Tokens got = tokenizer.encode(prompt);
      EXPECT_EQ(got.ids, wanted) << name << ": " << prompt;
      EXPECT_EQ(got.mask, mask) << name << ": " << prompt;
    }
  }

  static Json* forms_;
  static std::string* vocabulary_;
};

Json* ClipTokenizer::forms_ = nullptr;
std::string* ClipTokenizer::vocabulary_ = nullptr;

TEST_F(ClipTokenizer, equals_the_reference_on_the_corpus_with_both_paddings) {
  const auto sd1 = open_form("sd1");
  const auto sd2 = open_form("sd2");
  const auto lines = test::read_lines(test::kGolden / "clip.jsonl");
  ASSERT_GT(lines.size(), 2000u);
  int differences = 0;
  for (size_t i = 1; i < lines.size(); ++i) {
    const Json row = io::parse_json(lines[i], "clip.jsonl:" + std::to_string(i + 1));
    for (const bool is_sd2 : {false, true}) {
      std::vector<int64_t> wanted{kBegin};
      for (const Json& id : row[is_sd2 && row.size() > 2 ? 2 : 1]) {
        wanted.push_back(id.get<int64_t>());
      }
      wanted.push_back(kEnd);
      wanted.resize(kLength, is_sd2 ? 0 : kEnd);
      const Tokens got = (is_sd2 ? sd2 : sd1)->encode(row[0].get<std::string>());
      if (got.ids == wanted) continue;
      if (++differences <= 10) {
        EXPECT_EQ(got.ids, wanted) << "line " << i + 1 << ": " << row[0];
      }
    }
  }
  EXPECT_EQ(differences, 0);
}

TEST_F(ClipTokenizer, reads_every_form_of_the_small_files_like_the_reference) {
  for (const auto& [name, form] : forms_->at("forms").items()) {
    expect_probes(*open_form(name), name);
  }
}

TEST_F(ClipTokenizer, reads_the_single_file_of_transformers_5) {
  for (const auto& [name, form] : forms_->at("forms").items()) {
    std::string merges;
    for (const std::string& line : test::read_lines(test::kMerges)) {
      if (line.starts_with("#version")) continue;
      const bool as_array = name == "sd1";  // older tokenizers write "a b", newer ones ["a","b"]
      const size_t space = line.find(' ');
      const Json merge = as_array ? Json::array({line.substr(0, space), line.substr(space + 1)}) : Json(line);
      merges += (merges.empty() ? "" : ",") + merge.dump();
    }
    test::TempFolder folder;
    folder.write("tokenizer_config.json", form.at("saved").at("tokenizer_config.json").dump());
    folder.write("tokenizer.json", R"({"version":"1.0","added_tokens":)" + form.at("saved").at("added_tokens").dump() +
                                       R"(,"model":{"type":"BPE","vocab":)" + *vocabulary_ + R"(,"merges":[)" + merges +
                                       "]}}");
    expect_probes(*open_tokenizer(folder.path(), "CLIPTokenizerFast"), name);
  }
}

TEST_F(ClipTokenizer, Row37_reports_the_text_that_did_not_fit) {
  const auto tokenizer = open_form("sd1");
  std::string prompt;
  for (int i = 0; i < 75; ++i) {
    prompt += "cat ";
  }
  EXPECT_EQ(tokenizer->encode(prompt).truncated, "");
  const Tokens tokens = tokenizer->encode(prompt + "and a Dog, über <|endoftext|> 🙂");
  EXPECT_EQ(tokens.truncated, "and a dog , über <|endoftext|> 🙂");
  EXPECT_EQ(tokens.ids.size(), 77u);
  EXPECT_EQ(tokens.ids.back(), kEnd);
  EXPECT_THAT(tokenizer->encode("a cat sat", 4).ids, ElementsAre(kBegin, 320, 2368, kEnd));
  EXPECT_EQ(tokenizer->encode("a cat sat", 4).truncated, "sat");
  EXPECT_EQ(test::error_of([&] { tokenizer->encode("a", 1); }).code(), ErrorCode::usage);
}

TEST_F(ClipTokenizer, Row37_takes_any_bytes_for_a_prompt) {
  const auto tokenizer = open_form("sd2");
  EXPECT_EQ(tokenizer->encode("a\xFF\xC3z").ids, tokenizer->encode("a\uFFFD\uFFFDz").ids);
  EXPECT_EQ(tokenizer->encode(std::string("a\0b", 3)).ids.size(), 77u);
  for (const std::string& unit : {std::string("x"), std::string("word "), std::string("\u0301"), std::string("!")}) {
    std::string long_prompt;
    while (long_prompt.size() < 1'000'000) {
      long_prompt += unit;
    }
    const Tokens tokens = tokenizer->encode(long_prompt);
    EXPECT_EQ(tokens.ids.size(), 77u);
    EXPECT_FALSE(tokens.truncated.empty());
  }
  for (const int64_t id : tokenizer->encode("any 文字 🙂").ids) {
    EXPECT_LT(id, tokenizer->vocab_size());
  }
  EXPECT_EQ(tokenizer->vocab_size(), 49408);
}

struct BadFile {
  const char* name;
  const char* file;
  std::string content;
  const char* message;
};

TEST(ClipTokenizerFiles, Row35_malformed_files_are_refused_by_name) {
  const std::string vocabulary =
      R"({"a":0,"b":1,"a</w>":2,"b</w>":3,"ab</w>":4,"<|startoftext|>":5,"<|endoftext|>":6})";
  const std::vector<BadFile> cases = {
      {"empty vocabulary", "vocab.json", "{}", "object of tokens"},
      {"cut vocabulary", "vocab.json", R"({"a":0,"b")", "vocab.json"},
      {"array", "vocab.json", "[1,2]", "object of tokens"},
      {"negative id", "vocab.json", R"({"a":-1})", "token id"},
      {"huge id", "vocab.json", R"({"a":4294967296})", "token id"},
      {"text id", "vocab.json", R"({"a":"0"})", "token id"},
      {"id twice", "vocab.json", R"({"a":0,"b":0})", "appears twice"},
      {"token twice", "vocab.json", R"({"a":0,"a":1})", "appears twice"},
      {"lone surrogate", "vocab.json", R"({"\ud800":0})", "vocab.json"},
      {"one word merge", "merges.txt", "#version: 0.2\nab\n", "two tokens"},
      {"three word merge", "merges.txt", "a b c\n", "two tokens"},
      {"unknown merge", "merges.txt", "a q\n", "not in the vocabulary"},
      {"unknown result", "merges.txt", "b a\n", "not in the vocabulary"},
      {"config is an array", "tokenizer_config.json", "[]", "wanted an object"},
      {"bad length", "tokenizer_config.json", R"({"model_max_length":"77"})", "model_max_length"},
      {"zero length", "tokenizer_config.json", R"({"model_max_length":0})", "model_max_length"},
      {"bad token", "tokenizer_config.json", R"({"pad_token":3})", "pad_token"},
      {"bad flag", "special_tokens_map.json", R"({"pad_token":{"content":"!","lstrip":"no"}})", "lstrip"},
      {"no content", "special_tokens_map.json", R"({"pad_token":{"lstrip":true}})", "content"},
      {"no end", "tokenizer_config.json", R"({"eos_token":null})", "eos_token"},
      {"bad decoder", "tokenizer_config.json", R"({"added_tokens_decoder":{"x":{"content":"y"}}})", "token id"},
      {"no model", "tokenizer.json", R"({"model":null})", "no model"},
      {"other model", "tokenizer.json", R"({"model":{"type":"WordPiece","vocab":{},"merges":[]}})", "wanted BPE"},
      {"bad merge row", "tokenizer.json", R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[["a"]]}})", "two tokens"},
  };
  for (const BadFile& bad : cases) {
    test::TempFolder folder;
    folder.write("vocab.json", vocabulary);
    folder.write("merges.txt", "#version: 0.2\na b</w>\n");
    EXPECT_NO_THROW(open_tokenizer(folder.path(), "CLIPTokenizer"));
    folder.write(bad.file, bad.content);
    const Error error = test::error_of([&] { open_tokenizer(folder.path(), "CLIPTokenizer"); });
    EXPECT_EQ(error.code(), ErrorCode::bad_input) << bad.name << ": " << error.what();
    EXPECT_THAT(error.what(), HasSubstr(bad.message)) << bad.name;
    EXPECT_THAT(error.what(), HasSubstr(folder.path().string())) << bad.name;
  }
}

TEST(ClipTokenizerFiles, what_is_missing_or_unknown_is_said) {
  test::TempFolder folder;
  const Error missing = test::error_of([&] { open_tokenizer(folder.path(), "CLIPTokenizer"); });
  EXPECT_EQ(missing.code(), ErrorCode::bad_input);
  EXPECT_THAT(missing.what(), HasSubstr("vocab.json and merges.txt"));
  const Error unknown = test::error_of([&] { open_tokenizer(folder.path(), "CLIPTokeniser"); });
  EXPECT_EQ(unknown.code(), ErrorCode::unsupported);
  EXPECT_EQ(unknown.hint(), "did you mean 'CLIPTokenizer'?");
}

TEST(ClipTokenizerFiles, Row35_a_byte_outside_the_vocabulary_is_the_unknown_token_or_an_error) {
  test::TempFolder folder;
  folder.write("vocab.json", R"({"a":0,"b":1,"a</w>":2,"b</w>":3,"ab</w>":4,"<|startoftext|>":5,"<|endoftext|>":6})");
  folder.write("merges.txt", "#version: 0.2\r\na b</w>\r\n\r\n");
  const auto tokenizer = open_tokenizer(folder.path(), "CLIPTokenizer");
  EXPECT_THAT(tokenizer->encode("ab aab q", 8).ids, ElementsAre(5, 4, 0, 4, 6, 6, 6, 6));
  EXPECT_EQ(tokenizer->encode("ab q").unknown, 1);
  folder.write("tokenizer_config.json", R"({"unk_token":null})");
  const auto strict = open_tokenizer(folder.path(), "CLIPTokenizer");
  EXPECT_EQ(test::error_of([&] { strict->encode("q"); }).code(), ErrorCode::bad_input);
}

}  // namespace
}  // namespace t2v::text
