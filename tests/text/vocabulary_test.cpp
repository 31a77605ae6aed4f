// SPDX-License-Identifier: Apache-2.0
#include "text/vocabulary.hpp"

#include <gtest/gtest.h>

namespace t2v::text {
namespace {

const Vocabulary kWorld{{"red", "circle", "ball", "left", "红色", "红", "圆", "圆形", "向左"},
                        {"a", "the", "moving", "to", "it", "一个", "的", "移动"},
                        "red circles moving left"};

std::vector<std::string> unknown(std::string_view prompt) { return read_prompt(kWorld, prompt).unknown; }

TEST(Vocabulary, KnownPromptsGiveNoWarning) {
  for (const auto* prompt : {"a red circle moving to the left", "RED Ball!", "red, balls... 3", "red 4K",
                             "一个红色的圆向左移动", "红圆形。"}) {
    EXPECT_EQ(vocabulary_warning(kWorld, "tiny", prompt), "") << prompt;
  }
}

TEST(Vocabulary, NamesTheUnknownWordsOnceInOrder) {
  EXPECT_EQ(unknown("a Corgi surfing to the corgi's left"), (std::vector<std::string>{"corgi", "surfing"}));
  EXPECT_EQ(unknown("the naïve café"), (std::vector<std::string>{"naïve", "café"}));
  EXPECT_EQ(vocabulary_warning(kWorld, "tiny", "a red corgi"),
            "prompt: the model tiny was never shown 'corgi'; it knows red circles moving left");
}

TEST(Vocabulary, LongListsAreCut) {
  EXPECT_EQ(vocabulary_warning(kWorld, "tiny", "red one two three four five six"),
            "prompt: the model tiny was never shown 'one', 'two', 'three', 'four' and 2 more; it knows red circles "
            "moving left");
}

TEST(Vocabulary, WhatIsLeftOfChineseIsUnknown) {
  EXPECT_EQ(unknown("一只红色的猫向左移动"), (std::vector<std::string>{"一只", "猫"}));
  EXPECT_EQ(unknown("红色circle龙"), (std::vector<std::string>{"龙"}));
}

TEST(Vocabulary, FillersAloneMeanNothing) {
  EXPECT_EQ(vocabulary_warning(kWorld, "tiny", "moving to it"),
            "prompt: no word of it means anything to the model tiny; it knows red circles moving left");
  EXPECT_EQ(vocabulary_warning(kWorld, "tiny", " "), "");
  EXPECT_NE(vocabulary_warning(kWorld, "tiny", "42"), "");
}

TEST(Vocabulary, AnEmptyVocabularyKnowsEverything) { EXPECT_EQ(vocabulary_warning({}, "tiny", "a corgi"), ""); }

TEST(Vocabulary, AnyBytesAreRead) {
  for (int byte = 1; byte < 256; ++byte) read_prompt(kWorld, std::string(3, static_cast<char>(byte)) + "红");
  EXPECT_TRUE(unknown("'' ’ 's").empty());
}

}  // namespace
}  // namespace t2v::text
