// SPDX-License-Identifier: Apache-2.0
// Decoded frames to RGB: the matrix, range and chroma position of the frame's own tags, any
// rotation applied.
#pragma once

#include <cstdint>
#include <vector>

#include "media/av.hpp"

namespace t2v::media {

class RgbConverter {
 public:
  /// `untagged`: the matrix of Y'CbCr frames that have no tag.
  explicit RgbConverter(int rotation = 0, AVColorSpace untagged = AVCOL_SPC_UNSPECIFIED)
      : rotation_(rotation), untagged_(untagged) {}
  /// rgb [H W 3] after rotation.
  void convert(const AVFrame* frame, std::vector<uint8_t>& rgb, const std::string& where);

 private:
  void prepare(const AVFrame* frame, const std::string& where);

  int rotation_;
  AVColorSpace untagged_;
  UniqueSws sws_;
  int width_ = 0, height_ = 0, format_ = -1;
  std::vector<uint8_t> upright_;  // before rotation
};

}  // namespace t2v::media
