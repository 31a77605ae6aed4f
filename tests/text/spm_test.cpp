// SPDX-License-Identifier: Apache-2.0
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/tokenizer.hpp"
#include "text_files.hpp"

namespace t2v::text {
namespace {

using test::Json;
using testing::HasSubstr;

std::unique_ptr<Tokenizer> open_form(const Json& form, const char* class_name = "T5Tokenizer") {
  test::TempFolder folder;
  folder.write_all(form.at("files"));
  if (form.contains("model")) {
    folder.write("spiece.model", test::read_text(test::kGolden / form.at("model").get<std::string>()));
  }
  return open_tokenizer(folder.path(), class_name);
}

TEST(T5Tokenizer, reads_every_file_form_like_the_reference) {
  const Json golden = io::load_json(test::kGolden / "t5_forms.json");
  for (const auto& [name, form] : golden.at("forms").items()) {
    const auto tokenizer = open_form(form);
    EXPECT_EQ(tokenizer->vocab_size(), form.at("vocab_size").get<int64_t>()) << name;
    for (size_t i = 0; i < golden.at("probes").size(); ++i) {
      auto wanted = form.at("ids")[i].get<std::vector<int64_t>>();
      std::vector<uint8_t> mask(wanted.size(), 1);
      wanted.resize(48, form.at("pad").get<int64_t>());
      mask.resize(48, 0);
      const Tokens got = tokenizer->encode(golden.at("probes")[i].get<std::string>(), 48);
      EXPECT_EQ(got.ids, wanted) << name << ": " << golden.at("probes")[i];
      EXPECT_EQ(got.mask, mask) << name;
    }
  }
}

TEST(T5Tokenizer, equals_the_reference_on_the_corpus_with_and_without_byte_pieces) {
  const Json golden = io::load_json(test::kGolden / "t5_forms.json");
  const auto plain = open_form(golden.at("forms").at("plain_no_sentinels"));
  const auto bytes = open_form(golden.at("forms").at("bytes_no_sentinels"), "T5TokenizerFast");
  const auto prompts = test::read_lines(test::kGolden / "clip.jsonl");
  const auto lines = test::read_lines(test::kGolden / "t5.jsonl");
  ASSERT_GT(lines.size(), 1000u);
  int differences = 0;
  for (size_t i = 1; i < lines.size(); ++i) {
    const Json row = io::parse_json(lines[i], "t5.jsonl");
    const std::string prompt = io::parse_json(prompts.at(row[0].get<size_t>()), "clip.jsonl")[0].get<std::string>();
    for (const size_t model : {1, 2}) {
      auto wanted = row[model].get<std::vector<int64_t>>();
      wanted.push_back(1);
      const Tokens got = (model == 1 ? plain : bytes)->encode(prompt, 40);
      const auto ids = test::without_padding(got.ids, got.mask);
      if (ids != wanted && ++differences <= 10) {
        EXPECT_EQ(ids, wanted) << "line " << row[0] << ": " << Json(prompt);
      }
    }
  }
  EXPECT_EQ(differences, 0);
}

TEST(T5Tokenizer, counts_unknown_runs_and_reports_the_text_that_did_not_fit) {
  const Json golden = io::load_json(test::kGolden / "t5_forms.json");
  const auto tokenizer = open_form(golden.at("forms").at("bytes_no_sentinels"));
  EXPECT_EQ(tokenizer->encode("a red circle").unknown, 0);
  EXPECT_EQ(tokenizer->encode("龘龘龘 a 龘").unknown,
            2);  // byte pieces are not used, as in the reference
  EXPECT_EQ(tokenizer->encode("a red circle").truncated, "");
  const Tokens tokens = tokenizer->encode("a red circle moving to the right, and 龘 beside it", 6);
  EXPECT_EQ(tokens.ids.size(), 6u);
  EXPECT_EQ(tokens.ids.back(), 1);
  EXPECT_TRUE(std::string_view("a red circle moving to the right, and 龘 beside it").ends_with(tokens.truncated));
  EXPECT_FALSE(tokens.truncated.empty());
  EXPECT_EQ(tokenizer->encode("a").ids.size(), 24u);  // model_max_length of its config
  EXPECT_EQ(tokenizer->encode("a\xFF").ids, tokenizer->encode("a\uFFFD").ids);
}

TEST(T5Tokenizer, Row37_takes_a_megabyte) {
  const Json golden = io::load_json(test::kGolden / "t5_forms.json");
  const auto tokenizer = open_form(golden.at("forms").at("plain_alone"));
  for (const std::string& unit : {std::string("x"), std::string("a red "), std::string("龘"), std::string("\u2581")}) {
    std::string prompt;
    while (prompt.size() < 1'000'000) {
      prompt += unit;
    }
    EXPECT_EQ(tokenizer->encode(prompt, 20).ids.size(), 20u);
  }
}

struct BadJson {
  const char* content;
  const char* message;
};

TEST(T5TokenizerFiles, Row35_malformed_tokenizer_json_is_refused) {
  const BadJson cases[] = {
      {R"([])", "no model"},
      {R"({"model":{"type":"BPE","vocab":{}}})", "wanted Unigram"},
      {R"({"model":{"type":"Unigram"}})", "no vocab"},
      {R"({"model":{"type":"Unigram","vocab":[["<pad>",0],["</s>",0]]}})", "pieces"},
      {R"({"model":{"type":"Unigram","vocab":[["<pad>"],["</s>",0],["<unk>",0]]}})", "a text and a score"},
      {R"({"model":{"type":"Unigram","vocab":[["<pad>",0],["</s>",0],["<unk>",1e999]]}})", "tokenizer.json"},
      {R"({"model":{"vocab":[["<pad>",0],["</s>",0],["<unk>",0]]},"normalizer":{"type":"Precompiled","precompiled_charsmap":"*"}})",
       "base64"},
      {R"({"model":{"vocab":[["<pad>",0],["</s>",0],["<unk>",0]]},"normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"}})",
       "charsmap"},
      {R"({"model":{"vocab":[["<pad>",0],["</s>",0],["<unk>",0]]},"added_tokens":[{"content":"x"}]})", "without an id"},
  };
  for (const BadJson& bad : cases) {
    test::TempFolder folder;
    folder.write("tokenizer.json", bad.content);
    const Error error = test::error_of([&] { open_tokenizer(folder.path(), "T5Tokenizer"); });
    EXPECT_EQ(error.code(), ErrorCode::bad_input) << bad.content;
    EXPECT_THAT(error.what(), HasSubstr(bad.message)) << bad.content;
  }
  test::TempFolder empty;
  EXPECT_THAT(test::error_of([&] { open_tokenizer(empty.path(), "T5Tokenizer"); }).what(), HasSubstr("spiece.model"));
}

}  // namespace
}  // namespace t2v::text
