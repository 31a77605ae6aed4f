// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cctype>
#include <span>

#include "verifier/verifier.hpp"

namespace t2v::verifier {

namespace {

struct Word {
  std::string_view text;
  size_t index;
};

constexpr Word kShapeWords[] = {
    {"circle", 0}, {"ball", 0},     {"disc", 0}, {"disk", 0},    {"dot", 0},     {"square", 1},  {"box", 1},
    {"block", 1},  {"triangle", 2}, {"star", 3}, {"diamond", 4}, {"rhombus", 4}, {"ring", 5},    {"donut", 5},
    {"hoop", 5},   {"cross", 6},    {"plus", 6}, {"heart", 7},   {"hexagon", 8}, {"ellipse", 9}, {"oval", 9}};
// The longer names first: a Chinese ring and an ellipse hold the sign of a circle.
constexpr Word kShapeSigns[] = {{"圆环", 5}, {"环", 5},     {"椭圆", 9}, {"正方形", 1}, {"方块", 1},
                                {"三角", 2}, {"星", 3},     {"菱形", 4}, {"十字", 6},   {"心形", 7},
                                {"爱心", 7}, {"六边形", 8}, {"圆", 0},   {"球", 0}};
constexpr Word kColourWords[] = {{"red", 0},    {"crimson", 0}, {"scarlet", 0}, {"orange", 1}, {"yellow", 2},
                                 {"golden", 2}, {"green", 3},   {"emerald", 3}, {"cyan", 4},   {"turquoise", 4},
                                 {"aqua", 4},   {"blue", 5},    {"azure", 5},   {"purple", 6}, {"violet", 6},
                                 {"pink", 7},   {"rosy", 7},    {"brown", 8},   {"white", 9},  {"grey", 10},
                                 {"gray", 10},  {"black", 11}};
constexpr Word kColourSigns[] = {{"红", 0}, {"橙", 1}, {"黄", 2}, {"绿", 3}, {"青", 4},  {"蓝", 5},
                                 {"紫", 6}, {"粉", 7}, {"棕", 8}, {"白", 9}, {"灰", 10}, {"黑", 11}};
constexpr Word kSizeWords[] = {{"small", 0}, {"little", 0}, {"tiny", 0}, {"medium", 1},
                               {"large", 2}, {"big", 2},    {"huge", 2}};
constexpr Word kSizeSigns[] = {{"中等", 1}, {"小", 0}, {"大", 2}};
constexpr Word kBackgroundSigns[] = {{"深蓝色背景", 3}, {"米色背景", 4}, {"浅蓝色背景", 5}, {"深绿色背景", 6},
                                     {"浅粉色背景", 7}, {"黑色背景", 0}, {"白色背景", 1},   {"灰色背景", 2}};

size_t find_word(std::string_view text, std::string_view word) {
  const auto letter = [&](size_t i) { return i < text.size() && std::isalpha(static_cast<unsigned char>(text[i])); };
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    if ((at == 0 || !letter(at - 1)) && !letter(at + word.size())) return at;
  }
  return std::string_view::npos;
}

/// The word that comes first in the text.
std::optional<size_t> first_word(std::string_view text, std::span<const Word> words) {
  size_t best = std::string_view::npos;
  std::optional<size_t> found;
  for (const Word& word : words) {
    const size_t at = find_word(text, word.text);
    if (at < best) {
      best = at;
      found = word.index;
    }
  }
  return found;
}

/// The first of the list that is in the text.
std::optional<size_t> first_sign(std::string_view text, std::span<const Word> signs) {
  for (const Word& sign : signs) {
    if (text.find(sign.text) != std::string_view::npos) return sign.index;
  }
  return std::nullopt;
}

bool has(std::string_view text, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](auto part) { return text.find(part) != std::string_view::npos; });
}

size_t motion_index(std::string_view name) {
  return static_cast<size_t>(std::find(kMotions.begin(), kMotions.end(), name) - kMotions.begin());
}

std::optional<size_t> toward(bool left, bool right, bool up, bool down) {
  std::string name = up ? "up" : down ? "down" : "";
  if (left || right) name += std::string(name.empty() ? "" : "-") + (left ? "left" : "right");
  if (name.empty()) return std::nullopt;
  return motion_index(name);
}

std::optional<size_t> english_direction(std::string_view text) {
  if (has(text, {"from right to left"})) return motion_index("left");
  if (has(text, {"from left to right"})) return motion_index("right");
  if (has(text, {"from bottom to top"})) return motion_index("up");
  if (has(text, {"from top to bottom"})) return motion_index("down");
  const auto any = [&](std::initializer_list<std::string_view> words) {
    return std::any_of(words.begin(), words.end(),
                       [&](auto w) { return find_word(text, w) != std::string_view::npos; });
  };
  return toward(any({"left", "leftward", "leftwards"}), any({"right", "rightward", "rightwards"}),
                any({"up", "upward", "upwards", "upper", "top"}),
                any({"down", "downward", "downwards", "lower", "bottom"}));
}

/// The signs for directions right after the last "toward" of a Chinese sentence.
std::optional<size_t> chinese_direction(std::string_view text) {
  constexpr size_t kSign = 3;  // bytes
  size_t at = std::string_view::npos;
  for (const std::string_view to : {"向", "往"}) {
    const size_t last = text.rfind(to);
    if (last != std::string_view::npos && (at == std::string_view::npos || last > at)) at = last;
  }
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = text.substr(at + kSign);
  bool left = false, right = false, up = false, down = false;
  for (int k = 0; k < 2 && rest.size() >= kSign; ++k, rest.remove_prefix(kSign)) {
    left |= rest.starts_with("左");
    right |= rest.starts_with("右");
    up |= rest.starts_with("上");
    down |= rest.starts_with("下");
  }
  return toward(left, right, up, down);
}

std::optional<size_t> parse_motion(std::string_view text) {
  const bool back = has(text, {"counterclockwise", "counter-clockwise", "anticlockwise", "逆时针"});
  if (has(text, {"bounc", "弹跳"})) {
    return motion_index(has(text, {"horizontal", "left and right", "左右"}) ? "bounce-horizontal" : "bounce-vertical");
  }
  if (has(text, {"circling", "circles clock", "circles counter", "orbit", "绕圈"}))
    return motion_index(back ? "circle-ccw" : "circle-cw");
  if (has(text, {"rotat", "spin", "旋转"})) return motion_index(back ? "rotate-ccw" : "rotate-cw");
  if (has(text, {"grow", "bigger", "变大"})) return motion_index("grow");
  if (has(text, {"shrink", "smaller", "缩小", "变小"})) return motion_index("shrink");
  if (has(text, {"blink", "fading", "fades", "闪烁"})) return motion_index("blink");
  if (has(text, {"still", "not mov", "in place", "at rest", "静止", "停"})) return motion_index("still");
  if (const auto direction = chinese_direction(text)) return direction;
  return english_direction(text);
}

/// Takes the background's words out, so that its colour isn't the object's.
std::optional<size_t> take_background(std::string& text) {
  for (const Word& sign : kBackgroundSigns) {
    if (const size_t at = text.find(sign.text); at != std::string::npos) {
      text.erase(at, sign.text.size());
      return sign.index;
    }
  }
  std::optional<size_t> found;
  size_t longest = 0, place = 0;
  for (size_t k = 0; k < kBackgrounds.size(); ++k) {
    const std::string phrase = std::string(kBackgrounds[k].name) + " background";
    if (const size_t at = text.find(phrase); at != std::string::npos && phrase.size() > longest) {
      found = k;
      longest = phrase.size();
      place = at;
    }
  }
  if (found) text.erase(place, longest);
  return found;
}

/// The size said in Chinese; growing and shrinking hold the same signs.
std::optional<size_t> chinese_size(std::string text) {
  for (const std::string_view motion : {"变大", "变小", "缩小"}) {
    if (const size_t at = text.find(motion); at != std::string::npos) text.erase(at, motion.size());
  }
  return first_sign(text, kSizeSigns);
}

}  // namespace

Attributes parse_prompt(std::string_view prompt) {
  std::string text(prompt);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return c < 128 ? char(std::tolower(c)) : char(c); });
  Attributes wanted;
  wanted.background = take_background(text);
  wanted.shape = first_sign(text, kShapeSigns);
  if (!wanted.shape) wanted.shape = first_word(text, kShapeWords);
  wanted.colour = first_sign(text, kColourSigns);
  if (!wanted.colour) wanted.colour = first_word(text, kColourWords);
  wanted.size = chinese_size(text);
  if (!wanted.size) wanted.size = first_word(text, kSizeWords);
  wanted.motion = parse_motion(text);
  return wanted;
}

}  // namespace t2v::verifier
