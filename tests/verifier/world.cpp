// SPDX-License-Identifier: Apache-2.0
#include "verifier/world.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace t2v::verifier {

namespace {

constexpr double kPi = std::numbers::pi;

double box(double x, double y, double half_x, double half_y) {
  return std::max(std::abs(x) - half_x, std::abs(y) - half_y);
}

/// A regular polygon is the largest of its half-planes.
double polygon(double x, double y, int sides, double inradius, double turn) {
  double distance = -1e9;
  for (int k = 0; k < sides; ++k) {
    const double a = turn + 2 * kPi * k / sides;
    distance = std::max(distance, x * std::cos(a) + y * std::sin(a));
  }
  return distance - inradius;
}

/// Five points: the plane is folded into one tenth, where the edge is the line from a tip to the notch beside it.
double star(double x, double y) {
  constexpr double kTip = 1.28, kNotch = 0.60, kFold = kPi / 5;
  double angle = std::fmod(std::atan2(x, -y) + kFold + 4 * kPi, 2 * kFold) - kFold;
  const double rho = std::hypot(x, y);
  const double px = rho * std::cos(angle), py = rho * std::sin(std::abs(angle));
  const double ex = kNotch * std::cos(kFold) - kTip, ey = kNotch * std::sin(kFold);
  return ((px - kTip) * ey - py * ex) / std::hypot(ex, ey);
}

/// A square on its corner with a half-disc on each of its upper sides.
double heart(double x, double y) {
  constexpr double kHalf = 0.72;
  x = std::abs(x);
  y -= 0.12;
  const double u = (x + y) / std::numbers::sqrt2, v = (x - y) / std::numbers::sqrt2;
  return std::min(std::max(std::abs(u), std::abs(v)) - kHalf, std::hypot(u, v - kHalf) - kHalf);
}

struct Pose {
  double x, y, radius, angle, alpha;
};

double reflect(double x, double margin) {
  const double span = 1 - 2 * margin;
  const double phase = std::fmod(x - margin, 2 * span);
  return margin + (phase <= span ? phase : 2 * span - phase);
}

struct Step {
  double x, y;
};

Step direction(std::string_view motion) {
  if (motion.starts_with("bounce") || motion.starts_with("circle") || motion.starts_with("rotate")) return {0, 0};
  Step step{0, 0};
  if (motion.find("left") != std::string_view::npos) step.x = -1;
  if (motion.find("right") != std::string_view::npos) step.x = 1;
  if (motion.starts_with("up")) step.y = -1;
  if (motion.starts_with("down")) step.y = 1;
  return step;
}

Pose pose_at(const Scene& s, double t) {
  const std::string_view motion = kMotions[s.motion];
  Pose p{s.start_x, s.start_y, s.radius, s.angle, 1};
  const Step step = direction(motion);
  p.x += step.x * s.travel * t;
  p.y += step.y * s.travel * t;
  const double sense = motion.ends_with("-ccw") ? -1 : 1;
  if (motion == "bounce-horizontal") p.x = reflect(p.x + 2.2 * s.travel * t, s.radius);
  if (motion == "bounce-vertical") p.y = reflect(p.y + 2.2 * s.travel * t, s.radius);
  if (motion.starts_with("circle")) {
    p.x += 0.2 * std::cos(2 * kPi * t * sense);
    p.y += 0.2 * std::sin(2 * kPi * t * sense);
  }
  if (motion.starts_with("rotate")) p.angle += 2 * kPi * s.travel * t * sense;
  if (motion == "grow") p.radius *= 0.6 + t;
  if (motion == "shrink") p.radius *= 1.6 - t;
  if (motion == "blink") p.alpha = 0.5 + 0.5 * std::cos(4 * kPi * t);
  return p;
}

double uniform(std::mt19937& random, double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(random);
}

size_t pick(std::mt19937& random, size_t count) { return std::uniform_int_distribution<size_t>(0, count - 1)(random); }

double start_of(std::mt19937& random, double low, double high, double shift) {
  const double a = std::max(low, low - shift), b = std::min(high, high - shift);
  return a < b ? uniform(random, a, b) : (a + b) / 2;
}

Rgb jitter(std::mt19937& random, Rgb c, double amount) {
  const auto one = [&](double v) { return std::clamp(v + uniform(random, -amount, amount), 0.0, 255.0); };
  return {one(c.r), one(c.g), one(c.b)};
}

double distance_rgb(Rgb a, Rgb b) {
  return std::sqrt(std::pow(a.r - b.r, 2) + std::pow(a.g - b.g, 2) + std::pow(a.b - b.b, 2));
}

void place(std::mt19937& random, Scene& s) {
  constexpr std::array<std::array<double, 2>, 3> kRadii{{{0.12, 0.15}, {0.16, 0.20}, {0.22, 0.28}}};
  const std::string_view motion = kMotions[s.motion];
  s.rgb = jitter(random, kColours[s.colour].rgb, 10);
  s.background_rgb = jitter(random, kBackgrounds[s.background].rgb, 6);
  s.radius = uniform(random, kRadii[s.size][0], kRadii[s.size][1]);
  s.travel = 0.42 * uniform(random, 0.9, 1.1);
  s.angle = uniform(random, -0.12, 0.12);
  double margin = 0.95 * s.radius;
  if (motion == "grow" || motion == "shrink") margin *= 1.6;
  if (motion.starts_with("circle")) margin += 0.2;
  const Step step = direction(motion);
  if (step.x != 0 && step.y != 0) s.travel *= 0.85;
  s.start_x = start_of(random, margin, 1 - margin, step.x * s.travel);
  s.start_y = start_of(random, margin, 1 - margin, step.y * s.travel);
}

}  // namespace

double shape_distance(size_t shape, double x, double y) {
  switch (shape) {
    case 0: return std::hypot(x, y) - 1;
    case 1: return box(x, y, 0.9, 0.9);
    case 2: return polygon(x, y - 0.2, 3, 0.66, kPi / 2);
    case 3: return star(x, y);
    case 4: return (std::abs(x) / 0.85 + std::abs(y) / 1.3 - 1) * 0.71;
    case 5: return std::abs(std::hypot(x, y) - 0.76) - 0.28;
    case 6: return std::min(box(x, y, 1.05, 0.36), box(x, y, 0.36, 1.05));
    case 7: return heart(x, y);
    case 8: return polygon(x, y, 6, 0.95, kPi / 2);
    default: return (std::hypot(x / 1.35, y / 0.72) - 1) * 0.9;
  }
}

Scene random_scene(std::mt19937& random) {
  Scene s;
  do {
    s.shape = pick(random, kShapes.size());
    s.colour = pick(random, kColours.size());
    s.background = pick(random, kBackgrounds.size());
    s.size = pick(random, kSizes.size());
    s.motion = pick(random, kMotions.size());
  } while (distance_rgb(kColours[s.colour].rgb, kBackgrounds[s.background].rgb) < 90);
  place(random, s);
  return s;
}

Clip render(const Scene& s, int size, int frames) {
  Clip clip{size, size, {}};
  for (int k = 0; k < frames; ++k) {
    const Pose p = pose_at(s, frames > 1 ? double(k) / (frames - 1) : 0.5);
    std::vector<uint8_t> rgb;
    rgb.reserve(size_t(size) * size * 3);
    for (int row = 0; row < size; ++row) {
      for (int column = 0; column < size; ++column) {
        const double dx = ((column + 0.5) / size - p.x) / p.radius, dy = ((row + 0.5) / size - p.y) / p.radius;
        const double c = std::cos(p.angle), n = std::sin(p.angle);
        const double d = shape_distance(s.shape, c * dx + n * dy, c * dy - n * dx);
        const double a = std::clamp(0.5 - d * p.radius * size, 0.0, 1.0) * p.alpha;
        const auto mix = [a](double ground, double object) {
          return uint8_t(std::lround(ground * (1 - a) + object * a));
        };
        rgb.push_back(mix(s.background_rgb.r, s.rgb.r));
        rgb.push_back(mix(s.background_rgb.g, s.rgb.g));
        rgb.push_back(mix(s.background_rgb.b, s.rgb.b));
      }
    }
    clip.frames.push_back(std::move(rgb));
  }
  return clip;
}

std::string caption(const Scene& s) {
  static constexpr std::array<std::string_view, 18> kWords{"standing still",
                                                           "moving to the left",
                                                           "moving to the right",
                                                           "moving up",
                                                           "moving down",
                                                           "moving up and to the left",
                                                           "moving up and to the right",
                                                           "moving down and to the left",
                                                           "moving down and to the right",
                                                           "bouncing left and right",
                                                           "bouncing up and down",
                                                           "circling clockwise",
                                                           "circling counterclockwise",
                                                           "rotating clockwise",
                                                           "rotating counterclockwise",
                                                           "growing",
                                                           "shrinking",
                                                           "blinking"};
  return "a " + std::string(kSizes[s.size]) + " " + std::string(kColours[s.colour].name) + " " +
         std::string(kShapes[s.shape]) + " " + std::string(kWords[s.motion]) + " on a " +
         std::string(kBackgrounds[s.background].name) + " background";
}

}  // namespace t2v::verifier
