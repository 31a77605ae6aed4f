// SPDX-License-Identifier: Apache-2.0
// Group normalisation of channels-last images (Wu and He 2018, arXiv 1803.08494), with the SiLU that mostly follows, in
// one pass for the statistics and one for the result. The channels may lie in two buffers, as if concatenated; the
// result lies in one. fp32 on the CPU.
#pragma once

#include <array>
#include <cstdint>

namespace t2v::nn::kernels {

struct GroupNormShape {
  int64_t images = 1, pixels = 1, groups = 1;
  std::array<int64_t, 2> channels{0, 0};
  double eps = 0;
  bool silu = false;
  int64_t all_channels() const { return channels[0] + channels[1]; }
};

struct GroupNormData {
  std::array<const float*, 2> x{};  // [images, pixels, channels of the part]
  const float* weight = nullptr;    // [C]
  const float* bias = nullptr;      // [C]
  float* out = nullptr;             // [images, pixels, C]
};

/// Plain loops in double; the meaning of the fast form.
void group_norm_reference(const GroupNormData& data, const GroupNormShape& shape);

/// Pixels whose sums are taken together. The sums do not depend on how many threads share the work.
constexpr int64_t kNormChunk = 64;
inline int64_t norm_chunks(const GroupNormShape& s) { return (s.pixels + kNormChunk - 1) / kNormChunk; }

/// Sums of one chunk of one image, of x - pivot and its square, where the pivot is the image's first pixel:
/// sums [2, C] (of x, then of squares).
void group_norm_sums(const GroupNormData& data, const GroupNormShape& shape, int64_t image, int64_t chunk, float* sums);
/// All chunks' sums of an image [chunks, 2, C] -> affine [2, C]: y = x * affine[0] + affine[1].
void group_norm_affine(const GroupNormData& data, const GroupNormShape& shape, int64_t image, const float* sums,
                       float* affine);
/// The result for one chunk of one image.
void group_norm_apply(const GroupNormData& data, const GroupNormShape& shape, int64_t image, int64_t chunk,
                      const float* affine);

}  // namespace t2v::nn::kernels
