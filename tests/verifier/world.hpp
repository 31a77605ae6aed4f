// SPDX-License-Identifier: Apache-2.0
// The world of the embedded model: its words, its shapes as distance functions, and a renderer that makes clips whose
// truth is known. scripts/train/world.py is the same world for training; the numbers here must stay equal to it.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace t2v::verifier {

struct Rgb {
  double r = 0, g = 0, b = 0;  // 0 ... 255
};

struct Named {
  std::string_view name;
  Rgb rgb;
};

inline constexpr std::array<std::string_view, 10> kShapes{"circle", "square", "triangle", "star",    "diamond",
                                                          "ring",   "cross",  "heart",    "hexagon", "ellipse"};
inline constexpr std::array<Named, 12> kColours{{{"red", {220, 40, 40}},
                                                 {"orange", {255, 140, 0}},
                                                 {"yellow", {250, 220, 40}},
                                                 {"green", {40, 180, 70}},
                                                 {"cyan", {40, 200, 215}},
                                                 {"blue", {40, 80, 220}},
                                                 {"purple", {150, 60, 200}},
                                                 {"pink", {255, 105, 180}},
                                                 {"brown", {139, 69, 19}},
                                                 {"white", {240, 240, 240}},
                                                 {"grey", {128, 128, 128}},
                                                 {"black", {20, 20, 20}}}};
inline constexpr std::array<Named, 8> kBackgrounds{{{"black", {20, 20, 20}},
                                                    {"white", {240, 240, 240}},
                                                    {"grey", {128, 128, 128}},
                                                    {"navy", {25, 30, 80}},
                                                    {"beige", {225, 210, 175}},
                                                    {"light blue", {170, 205, 235}},
                                                    {"dark green", {20, 70, 45}},
                                                    {"light pink", {245, 210, 220}}}};
inline constexpr std::array<std::string_view, 3> kSizes{"small", "medium", "large"};
inline constexpr std::array<std::string_view, 18> kMotions{"still",
                                                           "left",
                                                           "right",
                                                           "up",
                                                           "down",
                                                           "up-left",
                                                           "up-right",
                                                           "down-left",
                                                           "down-right",
                                                           "bounce-horizontal",
                                                           "bounce-vertical",
                                                           "circle-cw",
                                                           "circle-ccw",
                                                           "rotate-cw",
                                                           "rotate-ccw",
                                                           "grow",
                                                           "shrink",
                                                           "blink"};

/// Frames [H W 3], 8 bits, all of one size.
struct Clip {
  int width = 0, height = 0;
  std::vector<std::vector<uint8_t>> frames;
};

/// Signed distance, in units of the object's radius, of the point (x, y) relative to the object; negative inside.
double shape_distance(size_t shape, double x, double y);

/// A scene of one plain object: indices into the tables above, and the numbers of its motion (parts of the width).
struct Scene {
  size_t shape = 0, colour = 0, background = 0, size = 1, motion = 0;
  double radius = 0.18, start_x = 0.5, start_y = 0.5, travel = 0.42, angle = 0;
  Rgb rgb, background_rgb;
};

/// A random scene whose object can be told from its background and stays in the picture.
Scene random_scene(std::mt19937& random);
Clip render(const Scene& scene, int size, int frames);

/// "a red circle moving to the right on a black background"; with every attribute.
std::string caption(const Scene& scene);

}  // namespace t2v::verifier
