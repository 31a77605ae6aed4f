// SPDX-License-Identifier: Apache-2.0
#include "verifier/verifier.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <numbers>

#include "verifier/segment.hpp"

namespace t2v::verifier {

namespace {

constexpr double kPi = std::numbers::pi;

size_t motion(std::string_view name) {
  return static_cast<size_t>(std::find(kMotions.begin(), kMotions.end(), name) - kMotions.begin());
}

template <size_t N>
size_t nearest(Rgb colour, const std::array<Named, N>& table) {
  const Lab lab = to_lab(colour);
  size_t best = 0;
  for (size_t k = 1; k < N; ++k) {
    if (difference(lab, to_lab(table[k].rgb)) < difference(lab, to_lab(table[best].rgb))) best = k;
  }
  return best;
}

template <size_t N, class Pick>
size_t vote(const std::vector<Blob>& blobs, const std::array<Named, N>& table, Pick pick) {
  std::array<int, N> votes{};
  for (const Blob& blob : blobs) ++votes[nearest(pick(blob), table)];
  return static_cast<size_t>(std::max_element(votes.begin(), votes.end()) - votes.begin());
}

struct Line {
  double slope = 0, offset = 0, residual = 0, spread = 0;  // residual and spread: sums of squares
};

Line fit(const std::vector<double>& t, const std::vector<double>& v) {
  const double n = double(t.size());
  double mt = 0, mv = 0, tt = 0, tv = 0;
  for (size_t i = 0; i < t.size(); ++i) mt += t[i] / n, mv += v[i] / n;
  for (size_t i = 0; i < t.size(); ++i) tt += (t[i] - mt) * (t[i] - mt), tv += (t[i] - mt) * (v[i] - mv);
  Line line;
  line.slope = tt > 0 ? tv / tt : 0;
  line.offset = mv - line.slope * mt;
  for (size_t i = 0; i < t.size(); ++i) {
    line.residual += std::pow(v[i] - line.offset - line.slope * t[i], 2);
    line.spread += (v[i] - mv) * (v[i] - mv);
  }
  return line;
}

double range(const std::vector<double>& v) {
  return *std::max_element(v.begin(), v.end()) - *std::min_element(v.begin(), v.end());
}

/// How much of its way something went back.
double retrace(const std::vector<double>& v) { return range(v) - std::abs(v.back() - v.front()); }

struct Track {
  std::vector<double> t, x, y, root;  // time 0 ... 1; centre and root of the area, parts of the width
};

/// Turn around the track's own middle, in radians; clockwise on the screen is positive.
double turned(const Track& track) {
  const auto middle = [](const std::vector<double>& v) {
    return (*std::max_element(v.begin(), v.end()) + *std::min_element(v.begin(), v.end())) / 2;
  };
  const double mx = middle(track.x), my = middle(track.y);
  double sum = 0;
  for (size_t i = 1; i < track.t.size(); ++i) {
    const std::complex<double> a(track.x[i - 1] - mx, track.y[i - 1] - my), b(track.x[i] - mx, track.y[i] - my);
    if (std::abs(a) > 1e-6 && std::abs(b) > 1e-6) sum += std::arg(b / a);
  }
  return sum;
}

/// How far the object turned about itself, from the phase of the moment that its symmetry leaves.
double spun(const std::vector<Blob>& blobs, int width, int height, size_t shape) {
  const int n = symmetry(shape);
  if (n == 0) return 0;
  const int order = n == 1 ? 3 : n;  // a heart's first moment is zero by definition of the centre
  double sum = 0;
  std::complex<double> before;
  for (size_t k = 0; k < blobs.size(); ++k) {
    std::complex<double> moment;
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const double c = blobs[k].cover[size_t(y) * width + x];
        if (c > 0) moment += c * std::pow(std::complex<double>(x + 0.5 - blobs[k].x, y + 0.5 - blobs[k].y), order);
      }
    }
    if (k > 0 && std::abs(moment) > 0 && std::abs(before) > 0) sum += std::arg(moment / before) / order;
    before = moment;
  }
  return sum;
}

size_t compass(double x, double y) {
  static constexpr std::array<std::string_view, 8> kNames{"right", "down-right", "down", "down-left",
                                                          "left",  "up-left",    "up",   "up-right"};
  const int octant = int(std::lround(std::atan2(y, x) / (kPi / 4)) + 8) % 8;
  return motion(kNames[size_t(octant)]);
}

std::optional<size_t> travel_kind(const Track& track, Seen& seen) {
  const Line x = fit(track.t, track.x), y = fit(track.t, track.y);
  seen.travel_x = x.slope;
  seen.travel_y = y.slope;
  const double spread = x.spread + y.spread;
  seen.straightness = spread > 0 ? 1 - (x.residual + y.residual) / spread : 0;
  const double total = std::hypot(x.slope, y.slope);
  const double range_x = range(track.x), range_y = range(track.y);
  if (std::abs(turned(track)) > 1.5 * kPi && std::min(range_x, range_y) > 0.2) {
    return motion(turned(track) > 0 ? "circle-cw" : "circle-ccw");
  }
  if (range_x > 0.15 && range_y < 0.06 && retrace(track.x) > 0.04) return motion("bounce-horizontal");
  if (range_y > 0.15 && range_x < 0.06 && retrace(track.y) > 0.04) return motion("bounce-vertical");
  if (total >= 0.15 && seen.straightness >= 0.8) return compass(x.slope, y.slope);
  if (std::max(range_x, range_y) > 0.1) return std::nullopt;  // it wanders
  return motion("still");
}

bool blinks(const std::vector<Blob>& all) {
  double low = 1e9, high = 0;
  for (const Blob& blob : all) {
    const double contrast = blob.found ? blob.contrast : 0;
    low = std::min(low, contrast), high = std::max(high, contrast);
  }
  return high > 0 && low < 0.4 * high;
}

Track track_of(const std::vector<Blob>& all, int width) {
  Track track;
  for (size_t k = 0; k < all.size(); ++k) {
    if (!all[k].found) continue;
    track.t.push_back(all.size() > 1 ? double(k) / double(all.size() - 1) : 0);
    track.x.push_back(all[k].x / width);
    track.y.push_back(all[k].y / width);
    track.root.push_back(std::sqrt(all[k].area) / width);
  }
  return track;
}

size_t best_shape(const std::vector<Blob>& blobs, const Clip& clip) {
  std::vector<double> scores;
  std::vector<const Blob*> whole;
  for (const Blob& blob : blobs) {
    if (!blob.at_border) whole.push_back(&blob);
  }
  if (whole.empty()) {
    for (const Blob& blob : blobs) whole.push_back(&blob);
  }
  const size_t step = std::max<size_t>(1, whole.size() / 4);
  for (size_t k = step / 2; k < whole.size(); k += step) score_shapes(*whole[k], clip.width, clip.height, scores);
  return static_cast<size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

}  // namespace

Seen look(const Clip& clip) {
  Seen seen;
  std::vector<Blob> all, found;
  for (const auto& frame : clip.frames) all.push_back(segment(frame, clip.width, clip.height));
  std::copy_if(all.begin(), all.end(), std::back_inserter(found), [](const Blob& b) { return b.found; });
  if (!all.empty()) seen.what.background = vote(all, kBackgrounds, [](const Blob& b) { return b.background; });
  if (found.empty()) return seen;
  seen.presence = double(found.size()) / double(all.size());
  // A fading object takes the background's colour: the clearest frames say what it is.
  double clearest = 0;
  for (const Blob& b : found) clearest = std::max(clearest, b.contrast);
  std::vector<Blob> clear;
  std::copy_if(found.begin(), found.end(), std::back_inserter(clear),
               [&](const Blob& b) { return b.contrast > 0.8 * clearest; });
  const bool blinking = blinks(all);
  if (seen.presence < 0.85 && !blinking) return seen;
  seen.what.colour = vote(clear, kColours, [](const Blob& b) { return b.object; });
  seen.what.shape = best_shape(clear, clip);
  const Track track = track_of(all, clip.width);
  std::vector<double> roots = track.root;
  std::nth_element(roots.begin(), roots.begin() + long(roots.size() / 2), roots.end());
  seen.radius = roots[roots.size() / 2] / std::sqrt(unit_area(*seen.what.shape));
  seen.what.size = seen.radius < 0.155 ? 0 : seen.radius < 0.21 ? 1 : 2;
  const Line root = fit(track.t, track.root);
  seen.growth = (root.offset + root.slope) / std::max(root.offset, 1e-6);
  seen.what.motion = travel_kind(track, seen);
  if (seen.what.motion != motion("still")) return seen;
  const double spin = spun(clear, clip.width, clip.height, *seen.what.shape);
  if (blinking)
    seen.what.motion = motion("blink");
  else if (seen.growth > 1.25)
    seen.what.motion = motion("grow");
  else if (seen.growth < 0.8)
    seen.what.motion = motion("shrink");
  else if (std::abs(spin) > 0.6)
    seen.what.motion = motion(spin > 0 ? "rotate-cw" : "rotate-ccw");
  return seen;
}

Clip shrink(const Clip& clip, int target_width) {
  const int factor = std::max(1, clip.width / target_width);
  if (factor == 1) return clip;
  Clip small{clip.width / factor, clip.height / factor, {}};
  for (const auto& frame : clip.frames) {
    std::vector<uint8_t> out;
    for (int y = 0; y < small.height; ++y) {
      for (int x = 0; x < small.width; ++x) {
        for (int c = 0; c < 3; ++c) {
          int sum = 0;
          for (int k = 0; k < factor * factor; ++k) {
            const size_t at = size_t(y * factor + k / factor) * clip.width + size_t(x * factor + k % factor);
            sum += frame[at * 3 + size_t(c)];
          }
          out.push_back(uint8_t((sum + factor * factor / 2) / (factor * factor)));
        }
      }
    }
    small.frames.push_back(std::move(out));
  }
  return small;
}

Verdict judge(const Attributes& wanted, const Seen& seen) {
  const auto met = [](std::optional<size_t> want, std::optional<size_t> got) -> std::optional<bool> {
    if (!want) return std::nullopt;
    return got == want;
  };
  return {met(wanted.shape, seen.what.shape), met(wanted.colour, seen.what.colour), met(wanted.size, seen.what.size),
          met(wanted.motion, seen.what.motion), met(wanted.background, seen.what.background)};
}

bool Verdict::all() const {
  return shape.value_or(true) && colour.value_or(true) && size.value_or(true) && motion.value_or(true) &&
         background.value_or(true);
}

}  // namespace t2v::verifier
