// SPDX-License-Identifier: Apache-2.0
// The judge is judged: on renders whose truth is known it has to be right, and on other clips' captions no better than
// chance.
#include "verifier/verifier.hpp"

#include <gtest/gtest.h>

#include <array>
#include <iostream>
#include <string>

namespace t2v::verifier {
namespace {

struct Tally {
  int right = 0, all = 0;
  void add(bool ok) { right += ok, ++all; }
  double share() const { return all ? double(right) / all : 0; }
};

using Tallies = std::array<Tally, 5>;  // shape colour size motion background
constexpr std::array<const char*, 5> kNames{"shape", "colour", "size", "motion", "background"};

void add(Tallies& tallies, const Verdict& v) {
  tallies[0].add(v.shape.value_or(false));
  tallies[1].add(v.colour.value_or(false));
  tallies[2].add(v.size.value_or(false));
  tallies[3].add(v.motion.value_or(false));
  tallies[4].add(v.background.value_or(false));
}

/// Renders for the motions that a clip of this kind can show: a ring or a circle that turns looks still.
bool can_be_seen(const Scene& s) {
  const bool round = kShapes[s.shape] == "circle" || kShapes[s.shape] == "ring";
  return !(round && kMotions[s.motion].starts_with("rotate"));
}

struct Sample {
  Scene scene;
  Seen seen;
};

std::vector<Sample> samples(int count, int size, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Sample> out;
  while (int(out.size()) < count) {
    const Scene scene = random_scene(random);
    if (can_be_seen(scene)) out.push_back({scene, look(render(scene, size, 16))});
  }
  return out;
}

std::string describe(const Sample& s) {
  const auto name = [](auto index, const auto& table) {
    return index ? std::string(table[*index]) : std::string("nothing");
  };
  return caption(s.scene) + " -> " + name(s.seen.what.shape, kShapes) + ", " + name(s.seen.what.motion, kMotions) +
         ", radius " + std::to_string(s.seen.radius) + " of " + std::to_string(s.scene.radius);
}

/// Size is not asked of what grows or shrinks: it has all of them.
Tallies judge_all(const std::vector<Sample>& list) {
  Tallies tallies;
  for (const Sample& s : list) {
    Attributes wanted = parse_prompt(caption(s.scene));
    if (kMotions[s.scene.motion] == "grow" || kMotions[s.scene.motion] == "shrink") wanted.size = s.seen.what.size;
    const Verdict verdict = judge(wanted, s.seen);
    if (!verdict.all()) std::cout << "  missed: " << describe(s) << "\n";
    add(tallies, verdict);
  }
  return tallies;
}

class GroundTruth : public testing::TestWithParam<int> {};

TEST_P(GroundTruth, EveryAttributeIsReadRightInNinetyNineOfAHundredRenders) {
  const Tallies tallies = judge_all(samples(250, GetParam(), 11));
  for (size_t k = 0; k < tallies.size(); ++k) {
    EXPECT_GE(tallies[k].share(), 0.99) << kNames[k] << " at " << GetParam() << " pixels";
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, GroundTruth, testing::Values(64, 96));

TEST(Verifier, IsAtChanceOnTheCaptionsOfOtherClips) {
  const auto list = samples(250, 64, 12);
  Tallies tallies;
  for (size_t i = 0; i < list.size(); ++i) {
    add(tallies, judge(parse_prompt(caption(list[(i + 87) % list.size()].scene)), list[i].seen));
  }
  // Chance of equal draws: 1/10, 1/12, 1/3, 1/18, 1/8; the standard deviation of 250 draws is at most 0.03.
  constexpr std::array<double, 5> kChance{1.0 / 10, 1.0 / 12, 1.0 / 3, 1.0 / 18, 1.0 / 8};
  for (size_t k = 0; k < tallies.size(); ++k) EXPECT_NEAR(tallies[k].share(), kChance[k], 0.1) << kNames[k];
}

TEST(Verifier, SeesNothingInAnEmptyClip) {
  Scene scene;
  scene.rgb = scene.background_rgb = {128, 128, 128};
  const Seen seen = look(render(scene, 64, 16));
  EXPECT_EQ(seen.presence, 0);
  EXPECT_FALSE(seen.what.colour || seen.what.shape || seen.what.motion);
  EXPECT_FALSE(judge(parse_prompt("a red circle moving right"), seen).all());
}

TEST(Verifier, JudgesAnEnlargedClipAsTheOriginal) {
  std::mt19937 random(5);
  const Scene scene = random_scene(random);
  const Seen large = look(shrink(render(scene, 256, 16), 64));
  const Seen small = look(render(scene, 64, 16));
  EXPECT_EQ(large.what.shape, small.what.shape);
  EXPECT_EQ(large.what.colour, small.what.colour);
  EXPECT_EQ(large.what.motion, small.what.motion);
}

struct Case {
  const char* prompt;
  const char* shape;
  const char* colour;
  const char* motion;
};

TEST(Prompt, IsReadInBothLanguagesWithSynonymsAndWordOrder) {
  const Case cases[] = {
      {"a red circle moving to the right", "circle", "red", "right"},
      {"A crimson BALL drifts leftwards!", "circle", "red", "left"},
      {"on a black background, a blue square flies from left to right", "square", "blue", "right"},
      {"a donut that is turquoise going up and to the left on a white background", "ring", "cyan", "up-left"},
      {"moving downward, a yellow triangle", "triangle", "yellow", "down"},
      {"a pink star standing still", "star", "pink", "still"},
      {"a green heart growing on a light pink background", "heart", "green", "grow"},
      {"an oval bouncing up and down", "ellipse", "", "bounce-vertical"},
      {"a grey hexagon rotating counterclockwise", "hexagon", "grey", "rotate-ccw"},
      {"一个红色的圆向右移动", "circle", "red", "right"},
      {"黑色背景上，一个蓝色的正方形从右向左移动", "square", "blue", "left"},
      {"紫色圆环往左上移动，白色背景", "ring", "purple", "up-left"},
      {"一个绿色三角形静止不动", "triangle", "green", "still"},
      {"一颗黄色的星星从上往下移动", "star", "yellow", "down"},
      {"the quick brown fox", "", "brown", ""},
  };
  for (const Case& c : cases) {
    const Attributes a = parse_prompt(c.prompt);
    EXPECT_EQ(a.shape ? kShapes[*a.shape] : "", c.shape) << c.prompt;
    EXPECT_EQ(a.colour ? kColours[*a.colour].name : "", c.colour) << c.prompt;
    EXPECT_EQ(a.motion ? kMotions[*a.motion] : "", c.motion) << c.prompt;
  }
  EXPECT_EQ(*parse_prompt("a red circle on a dark green background").background, 6u);
}

TEST(Prompt, NamesSizesInBothLanguages) {
  const auto size = [](const char* prompt) { return parse_prompt(prompt).size; };
  EXPECT_EQ(size("a tiny red circle"), 0u);
  EXPECT_EQ(size("黑色背景上，一个小青色的椭圆静止不动"), 0u);
  EXPECT_EQ(size("一个中等大小的红色的球"), 1u);
  EXPECT_EQ(size("一个大红色的圆缩小"), 2u);
  EXPECT_FALSE(size("一个红色的圆变大") || size("一个红色的圆变小") || size("a red circle getting bigger"));
}

}  // namespace
}  // namespace t2v::verifier
