// SPDX-License-Identifier: Apache-2.0
// One frame taken apart: background, object, and how much of each pixel the object covers.
#pragma once

#include <vector>

#include "verifier/world.hpp"

namespace t2v::verifier {

struct Lab {
  double l = 0, a = 0, b = 0;
};
Lab to_lab(Rgb);
double difference(Lab, Lab);  ///< CIE 1976

struct Blob {
  bool found = false;
  Rgb background, object;
  std::vector<double> cover;  ///< [H W], 0 ... 1; 0 outside the largest connected part
  double area = 0;            ///< pixels
  double x = 0, y = 0;        ///< centroid, pixels
  double contrast = 0;        ///< Lab difference of object and background
  bool at_border = false;
};

/// The largest connected part that differs from the median colour of the frame's border.
Blob segment(const std::vector<uint8_t>& rgb, int width, int height);

/// The best-fitting shape of the table for a blob, by overlap with templates over all rotations; the overlap (0 ... 1)
/// of every shape is added to `scores`.
void score_shapes(const Blob&, int width, int height, std::vector<double>& scores);

/// Area of a shape of radius 1.
double unit_area(size_t shape);

/// Times a full turn brings the shape back to itself; 0: any rotation does.
int symmetry(size_t shape);

}  // namespace t2v::verifier
