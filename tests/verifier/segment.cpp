// SPDX-License-Identifier: Apache-2.0
#include "verifier/segment.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace t2v::verifier {

namespace {

constexpr double kFound = 16;        // Lab difference from the background that makes a pixel the object's
constexpr double kSmallest = 0.005;  // of the frame's area
constexpr double kLargest = 0.75;    // what grows may fill most of the frame

double linear(double v) {
  v /= 255;
  return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
}

double lab_curve(double t) { return t > 216.0 / 24389 ? std::cbrt(t) : (24389.0 / 27 * t + 16) / 116; }

Rgb pixel(const std::vector<uint8_t>& rgb, size_t i) {
  return {double(rgb[3 * i]), double(rgb[3 * i + 1]), double(rgb[3 * i + 2])};
}

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

Rgb border_colour(const std::vector<uint8_t>& rgb, int width, int height) {
  std::vector<double> r, g, b;
  const int band = std::max(1, width / 24);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      if (x >= band && y >= band && x < width - band && y < height - band) continue;
      const Rgb p = pixel(rgb, size_t(y) * width + x);
      r.push_back(p.r), g.push_back(p.g), b.push_back(p.b);
    }
  }
  return {median(r), median(g), median(b)};
}

/// Pixels of the largest 4-connected part of `away` > kFound.
std::vector<size_t> largest_part(const std::vector<double>& away, int width, int height) {
  std::vector<char> seen(away.size(), 0);
  std::vector<size_t> best, part;
  for (size_t seed = 0; seed < away.size(); ++seed) {
    if (seen[seed] || away[seed] <= kFound) continue;
    part.assign(1, seed);
    seen[seed] = 1;
    for (size_t k = 0; k < part.size(); ++k) {
      const int x = int(part[k]) % width, y = int(part[k]) / width;
      const auto visit = [&](int nx, int ny) {
        if (nx < 0 || ny < 0 || nx >= width || ny >= height) return;
        const size_t n = size_t(ny) * width + nx;
        if (!seen[n] && away[n] > kFound) seen[n] = 1, part.push_back(n);
      };
      visit(x - 1, y), visit(x + 1, y), visit(x, y - 1), visit(x, y + 1);
    }
    if (part.size() > best.size()) best = part;
  }
  return best;
}

/// Mean colour of the half of the part that is farthest from the background: without the blended edge.
Rgb core_colour(const std::vector<uint8_t>& rgb, std::vector<size_t> part, const std::vector<double>& away) {
  std::sort(part.begin(), part.end(), [&](size_t i, size_t j) { return away[i] > away[j]; });
  const size_t count = (part.size() + 1) / 2;
  std::vector<double> r, g, b;
  for (size_t k = 0; k < count; ++k) {
    const Rgb p = pixel(rgb, part[k]);
    r.push_back(p.r), g.push_back(p.g), b.push_back(p.b);
  }
  return {median(r), median(g), median(b)};
}

void fill_cover(Blob& blob, const std::vector<uint8_t>& rgb, const std::vector<size_t>& part, int width, int height) {
  const Rgb d{blob.object.r - blob.background.r, blob.object.g - blob.background.g, blob.object.b - blob.background.b};
  const double norm = d.r * d.r + d.g * d.g + d.b * d.b;
  blob.cover.assign(size_t(width) * height, 0);
  const auto cover_of = [&](size_t i) {
    const Rgb p = pixel(rgb, i);
    const double along =
        ((p.r - blob.background.r) * d.r + (p.g - blob.background.g) * d.g + (p.b - blob.background.b) * d.b);
    return std::clamp(along / norm, 0.0, 1.0);
  };
  for (const size_t i : part) {  // the part and the thin edge around it
    const int x = int(i) % width, y = int(i) / width;
    for (int ny = std::max(0, y - 1); ny <= std::min(height - 1, y + 1); ++ny) {
      for (int nx = std::max(0, x - 1); nx <= std::min(width - 1, x + 1); ++nx) {
        double& c = blob.cover[size_t(ny) * width + nx];
        if (c == 0) c = cover_of(size_t(ny) * width + nx);
      }
    }
    blob.at_border |= x == 0 || y == 0 || x == width - 1 || y == height - 1;
  }
}

struct Template {
  double area = 0, x = 0, y = 0;  // of radius 1: area and centroid
};

Template measure(size_t shape) {
  Template t;
  constexpr double kStep = 0.01, kReach = 1.6;
  for (double y = -kReach; y < kReach; y += kStep) {
    for (double x = -kReach; x < kReach; x += kStep) {
      if (shape_distance(shape, x, y) < 0) t.area += 1, t.x += x, t.y += y;
    }
  }
  t.x /= t.area, t.y /= t.area;
  t.area *= kStep * kStep;
  return t;
}

const Template& template_of(size_t shape) {
  static const std::vector<Template> all = [] {
    std::vector<Template> list;
    for (size_t k = 0; k < kShapes.size(); ++k) list.push_back(measure(k));
    return list;
  }();
  return all[shape];
}

/// Overlap of the blob with a turned template of its own area: sum of minima over sum of maxima.
double overlap(const Blob& blob, int width, int height, size_t shape, double angle) {
  const Template& t = template_of(shape);
  const double r = std::sqrt(blob.area / t.area), c = std::cos(angle), s = std::sin(angle);
  const double cx = blob.x - (c * t.x - s * t.y) * r, cy = blob.y - (s * t.x + c * t.y) * r;
  double low = 0, high = 0;
  const int reach = int(1.6 * r) + 2;
  for (int y = std::max(0, int(cy) - reach); y <= std::min(height - 1, int(cy) + reach); ++y) {
    for (int x = std::max(0, int(cx) - reach); x <= std::min(width - 1, int(cx) + reach); ++x) {
      const double dx = (x + 0.5 - cx) / r, dy = (y + 0.5 - cy) / r;
      const double want = std::clamp(0.5 - shape_distance(shape, c * dx + s * dy, c * dy - s * dx) * r, 0.0, 1.0);
      const double got = blob.cover[size_t(y) * width + x];
      low += std::min(want, got), high += std::max(want, got);
    }
  }
  return high > 0 ? low / high : 0;
}

}  // namespace

Lab to_lab(Rgb c) {
  const double r = linear(c.r), g = linear(c.g), b = linear(c.b);  // sRGB, D65
  const double x = lab_curve((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047);
  const double y = lab_curve(0.2126729 * r + 0.7151522 * g + 0.0721750 * b);
  const double z = lab_curve((0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883);
  return {116 * y - 16, 500 * (x - y), 200 * (y - z)};
}

double difference(Lab p, Lab q) { return std::hypot(p.l - q.l, p.a - q.a, p.b - q.b); }

double unit_area(size_t shape) { return template_of(shape).area; }

int symmetry(size_t shape) {
  constexpr std::array<int, 10> kTurns{0, 4, 3, 5, 2, 0, 4, 1, 6, 2};
  return kTurns[shape];
}

Blob segment(const std::vector<uint8_t>& rgb, int width, int height) {
  Blob blob;
  blob.background = border_colour(rgb, width, height);
  const Lab ground = to_lab(blob.background);
  std::vector<double> away(size_t(width) * height);
  for (size_t i = 0; i < away.size(); ++i) away[i] = difference(to_lab(pixel(rgb, i)), ground);
  const std::vector<size_t> part = largest_part(away, width, height);
  const double share = double(part.size()) / double(away.size());
  if (share < kSmallest || share > kLargest) return blob;
  blob.found = true;
  blob.object = core_colour(rgb, part, away);
  blob.contrast = difference(to_lab(blob.object), ground);
  fill_cover(blob, rgb, part, width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const double c = blob.cover[size_t(y) * width + x];
      blob.area += c, blob.x += c * (x + 0.5), blob.y += c * (y + 0.5);
    }
  }
  blob.x /= blob.area, blob.y /= blob.area;
  return blob;
}

void score_shapes(const Blob& blob, int width, int height, std::vector<double>& scores) {
  scores.resize(kShapes.size(), 0);
  constexpr double kTurn = 2 * std::numbers::pi, kStep = kTurn / 48;
  for (size_t shape = 0; shape < kShapes.size(); ++shape) {
    const int turns = symmetry(shape);
    const double span = turns == 0 ? kStep / 2 : kTurn / turns;
    double best = 0;
    for (double angle = 0; angle < span; angle += kStep)
      best = std::max(best, overlap(blob, width, height, shape, angle));
    scores[shape] += best;
  }
}

}  // namespace t2v::verifier
