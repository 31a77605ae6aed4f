// SPDX-License-Identifier: Apache-2.0
// Says what a clip shows and whether that is what a prompt asked for, without any learned model: the object is what
// differs from the background in Lab colour, its track is fitted by lines, its shape compared with templates.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "verifier/world.hpp"

namespace t2v::verifier {

/// Indices into the tables of world.hpp; nothing = not said, or not seen.
struct Attributes {
  std::optional<size_t> shape, colour, size, motion, background;
};

/// The attributes a prompt names, English or Chinese; unknown words are passed over.
Attributes parse_prompt(std::string_view prompt);

struct Seen {
  Attributes what;
  double presence = 0;  ///< share of frames with one object in them
  double travel_x = 0, travel_y = 0, straightness = 0, growth = 1, radius = 0;  ///< parts of the width; R²; last/first
};

/// Looks at a clip with one object on a plain background.
Seen look(const Clip& clip);

/// Means over squares of pixels, so that enlarged videos are judged at about the size they were made.
Clip shrink(const Clip& clip, int target_width = 96);

/// For every attribute the prompt names, whether it was met.
struct Verdict {
  std::optional<bool> shape, colour, size, motion, background;
  bool all() const;
};
Verdict judge(const Attributes& wanted, const Seen& seen);

}  // namespace t2v::verifier
