// SPDX-License-Identifier: Apache-2.0
// Weights in prompts and long prompts, against the reference of scripts/golden/prompts.py.

#include <gmock/gmock.h>

#include "support/processor_time.hpp"
#include "support/tiny_checkpoint.hpp"
#include "text/prompt_chunks.hpp"
#include "text/prompt_syntax.hpp"

namespace t2v::test {
namespace {

using t2v::text::chunk_prompt;
using t2v::text::is_weighted;
using t2v::text::parse_prompt;
using t2v::text::PromptPart;
using t2v::text::PromptSyntax;
using testing::ElementsAre;

const Json& golden() {
  static const Json document = io::load_json(fs::path(T2V_TEST_DATA) / "golden/prompts/prompts.json");
  return document;
}

TEST(PromptSyntaxTest, parses_as_the_reference) {
  for (const Json& row : golden()["parsed"]) {
    const auto prompt = row[0].get<std::string>();
    SCOPED_TRACE(prompt);
    const auto parts = parse_prompt(prompt, PromptSyntax::weighted);
    ASSERT_EQ(parts.size(), row[1].size());
    for (size_t i = 0; i < parts.size(); ++i) {
      EXPECT_EQ(parts[i].text, row[1][i][0].get<std::string>());
      EXPECT_DOUBLE_EQ(parts[i].weight, row[1][i][1].get<double>());
      EXPECT_EQ(parts[i].begins_chunk, row[1][i][2].get<bool>());
    }
    EXPECT_EQ(is_weighted(prompt, PromptSyntax::automatic), row[2].get<bool>());
  }
}

TEST(PromptSyntaxTest, brackets_alone_are_text_unless_asked_for) {
  const std::string prompt = "a (cute) [small] cat \\(really\\) BREAK here";
  EXPECT_THAT(parse_prompt(prompt, PromptSyntax::automatic), ElementsAre(PromptPart{prompt}));
  EXPECT_THAT(parse_prompt("a (cute:1.3) cat", PromptSyntax::plain), ElementsAre(PromptPart{"a (cute:1.3) cat"}));
  EXPECT_THAT(parse_prompt("a (cute:1.3) cat", PromptSyntax::automatic),
              ElementsAre(PromptPart{"a "}, PromptPart{"cute", 1.3}, PromptPart{" cat"}));
}

TEST(PromptSyntaxTest, weights_that_leave_nothing_to_see_are_refused) {
  for (const std::string prompt : {"(a:101)", "(a:-1000)", "((a:50):50)", "(a:99999999999999999999)"}) {
    try {
      parse_prompt(prompt, PromptSyntax::automatic);
      FAIL() << prompt;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_THAT(error.what(), testing::HasSubstr("wanted weights from -100 to 100"));
    }
  }
}

TEST(PromptSyntaxTest, hostile_prompts_take_no_time) {
  const double start = processor_seconds();
  const size_t size = size_t{1} << 20;
  for (const std::string& unit : {"(", "[", "(a", ")", " ", ":", "(a:", "\\", "BREAK ", " B", "(a:1)"}) {
    std::string prompt;
    while (prompt.size() < size) prompt += unit;
    EXPECT_FALSE(parse_prompt(prompt, PromptSyntax::automatic).empty());
    try {
      parse_prompt(prompt, PromptSyntax::weighted);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
    }
  }
  // Seconds would mean that the time grows with the square of the length.
  EXPECT_LT(processor_seconds() - start, 30.0);
}

TEST(PromptSyntaxTest, names_are_checked) {
  EXPECT_EQ(t2v::text::prompt_syntax(""), PromptSyntax::automatic);
  EXPECT_EQ(t2v::text::prompt_syntax("plain"), PromptSyntax::plain);
  EXPECT_THROW(t2v::text::prompt_syntax("fancy"), Error);
}

class PromptChunks : public testing::Test {
 protected:
  PromptChunks() {
    write_clip_tokenizer(folder_.path() / "tokenizer", "!");
    tokenizer_ = t2v::text::open_tokenizer(folder_.path() / "tokenizer", "CLIPTokenizer");
  }
  const TempFolder folder_;
  std::unique_ptr<t2v::text::Tokenizer> tokenizer_;
};

TEST_F(PromptChunks, are_those_of_the_reference) {
  constexpr int64_t kBegin = 49406, kEnd = 49407, kPad = 0;
  for (const Json& row : golden()["chunked"]) {
    SCOPED_TRACE(row[0].get<std::string>());
    const auto chunks = chunk_prompt(*tokenizer_, parse_prompt(row[0].get<std::string>(), PromptSyntax::weighted));
    ASSERT_EQ(chunks.size(), row[1].size());
    for (size_t i = 0; i < chunks.size(); ++i) {
      auto ids = row[1][i][0].get<std::vector<int64_t>>();
      auto weights = row[1][i][1].get<std::vector<float>>();
      const size_t real = ids.size() + 2;
      ids.insert(ids.begin(), kBegin);
      ids.push_back(kEnd);
      ids.resize(77, kPad);
      weights.insert(weights.begin(), 1);
      weights.resize(77, 1);
      std::vector<uint8_t> mask(real, 1);
      mask.resize(77, 0);
      EXPECT_EQ(chunks[i].ids, ids);
      EXPECT_EQ(chunks[i].weights, weights);
      EXPECT_EQ(chunks[i].mask, mask);
    }
  }
}

TEST_F(PromptChunks, one_short_prompt_is_what_the_tokenizer_gives) {
  for (const std::string prompt : {"", "a (cute) cat!", "A red fox, running through deep snow!"}) {
    const auto chunks = chunk_prompt(*tokenizer_, parse_prompt(prompt, PromptSyntax::automatic));
    ASSERT_EQ(chunks.size(), 1U);
    const auto whole = tokenizer_->encode(prompt);
    EXPECT_EQ(chunks.front().ids, whole.ids);
    EXPECT_EQ(chunks.front().mask, whole.mask);
    EXPECT_FALSE(chunks.front().has_weights);
  }
}

TEST_F(PromptChunks, a_single_chunk_says_what_it_left_out) {
  int64_t left_out = 0;
  const auto chunk = single_chunk(*tokenizer_, parse_prompt("a (b:2) c d", PromptSyntax::automatic), 5, left_out);
  EXPECT_EQ(left_out, 1);
  EXPECT_THAT(chunk.weights, ElementsAre(1, 1, 2, 1, 1));
  EXPECT_THAT(chunk.mask, ElementsAre(1, 1, 1, 1, 1));
}

}  // namespace
}  // namespace t2v::test
