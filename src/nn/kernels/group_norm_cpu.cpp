// SPDX-License-Identifier: Apache-2.0
// Vectors run along channels, so a group needs no sum across lanes until the very end, which is in double.
#include "nn/kernels/group_norm.hpp"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nn/kernels/group_norm_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace t2v::nn::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

/// Calls body(d, c) for whole vectors of channels [0, count), then with vectors of one lane.
template <class Body>
HWY_INLINE void AlongChannels(int64_t count, const Body& body) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + lanes <= count; c += lanes) body(d, c);
  const hn::CappedTag<float, 1> one;
  for (; c < count; ++c) body(one, c);
}

/// Sums of one part of the channels.
void PartSums(const float* x, const float* pivot, int64_t pixels, int64_t channels, float* sums, float* squares) {
  AlongChannels(channels, [&](auto d, int64_t c) HWY_ATTR {
    const auto first = hn::LoadU(d, pivot + c);
    auto sum0 = hn::Zero(d), square0 = hn::Zero(d), sum1 = hn::Zero(d), square1 = hn::Zero(d);
    const float* at = x + c;
    int64_t pixel = 0;
    for (; pixel + 2 <= pixels; pixel += 2, at += 2 * channels) {
      const auto a = hn::Sub(hn::LoadU(d, at), first), b = hn::Sub(hn::LoadU(d, at + channels), first);
      sum0 = hn::Add(sum0, a);
      square0 = hn::MulAdd(a, a, square0);
      sum1 = hn::Add(sum1, b);
      square1 = hn::MulAdd(b, b, square1);
    }
    if (pixel < pixels) {
      const auto a = hn::Sub(hn::LoadU(d, at), first);
      sum0 = hn::Add(sum0, a);
      square0 = hn::MulAdd(a, a, square0);
    }
    hn::StoreU(hn::Add(sum0, sum1), d, sums + c);
    hn::StoreU(hn::Add(square0, square1), d, squares + c);
  });
}

void Sums(const GroupNormData& data, const GroupNormShape& s, int64_t image, int64_t chunk, float* sums) {
  const int64_t first = chunk * kNormChunk, count = HWY_MIN(kNormChunk, s.pixels - first);
  int64_t offset = 0;
  for (size_t part = 0; part < 2; ++part) {
    const int64_t channels = s.channels[part];
    if (channels == 0) continue;
    const float* of_image = data.x[part] + image * s.pixels * channels;
    PartSums(of_image + first * channels, of_image, count, channels, sums + offset, sums + s.all_channels() + offset);
    offset += channels;
  }
}

template <bool kSilu>
void PartApply(const float* x, const float* scale, const float* shift, float* out, int64_t pixels, int64_t channels,
               int64_t out_channels) {
  for (int64_t pixel = 0; pixel < pixels; ++pixel, x += channels, out += out_channels) {
    AlongChannels(channels, [&](auto d, int64_t c) HWY_ATTR {
      auto y = hn::MulAdd(hn::LoadU(d, x + c), hn::LoadU(d, scale + c), hn::LoadU(d, shift + c));
      if (kSilu) y = hn::Div(y, hn::Add(hn::Set(d, 1.0f), hn::Exp(d, hn::Neg(y))));
      hn::StoreU(y, d, out + c);
    });
  }
}

void Apply(const GroupNormData& data, const GroupNormShape& s, int64_t image, int64_t chunk, const float* affine) {
  const int64_t first = chunk * kNormChunk, count = HWY_MIN(kNormChunk, s.pixels - first);
  const int64_t all = s.all_channels();
  int64_t offset = 0;
  for (size_t part = 0; part < 2; ++part) {
    const int64_t channels = s.channels[part];
    if (channels == 0) continue;
    const float* x = data.x[part] + (image * s.pixels + first) * channels;
    float* out = data.out + (image * s.pixels + first) * all + offset;
    const auto apply = s.silu ? PartApply<true> : PartApply<false>;
    apply(x, affine + offset, affine + all + offset, out, count, channels, all);
    offset += channels;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace t2v::nn::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace t2v::nn::kernels {

HWY_EXPORT(Sums);
HWY_EXPORT(Apply);

void group_norm_sums(const GroupNormData& data, const GroupNormShape& shape, int64_t image, int64_t chunk,
                     float* sums) {
  HWY_DYNAMIC_DISPATCH(Sums)(data, shape, image, chunk, sums);
}

void group_norm_affine(const GroupNormData& data, const GroupNormShape& s, int64_t image, const float* sums,
                       float* affine) {
  const int64_t all = s.all_channels(), width = all / s.groups;
  const auto pixels = static_cast<double>(s.pixels), count = pixels * static_cast<double>(width);
  const auto pivot = [&](int64_t c) -> double {
    const size_t part = c < s.channels[0] ? 0 : 1;
    return data.x[part][image * s.pixels * s.channels[part] + (part == 0 ? c : c - s.channels[0])];
  };
  const auto total = [&](int64_t row, int64_t c) {
    double sum = 0;
    for (int64_t chunk = 0; chunk < norm_chunks(s); ++chunk)
      sum += static_cast<double>(sums[(2 * chunk + row) * all + c]);
    return sum;
  };
  for (int64_t first = 0; first < all; first += width) {
    double mean = 0, variance = 0;
    for (int64_t c = first; c < first + width; ++c) mean += (pivot(c) * pixels + total(0, c)) / count;
    for (int64_t c = first; c < first + width; ++c) {
      // The sum of (pivot + u - mean)^2, for the u that were summed.
      const double away = pivot(c) - mean;
      variance += (total(1, c) + 2 * away * total(0, c) + pixels * away * away) / count;
    }
    const double inverse = 1.0 / std::sqrt(std::max(variance, 0.0) + s.eps);
    for (int64_t c = first; c < first + width; ++c) {
      const double scale = inverse * static_cast<double>(data.weight[c]);
      affine[c] = static_cast<float>(scale);
      affine[all + c] = static_cast<float>(static_cast<double>(data.bias[c]) - mean * scale);
    }
  }
}

void group_norm_apply(const GroupNormData& data, const GroupNormShape& shape, int64_t image, int64_t chunk,
                      const float* affine) {
  HWY_DYNAMIC_DISPATCH(Apply)(data, shape, image, chunk, affine);
}

}  // namespace t2v::nn::kernels
#endif
