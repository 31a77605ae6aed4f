// SPDX-License-Identifier: Apache-2.0
// A row stays in the first-level cache between its three passes.
#include "nn/kernels/layer_norm.hpp"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nn/kernels/layer_norm_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace t2v::nn::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;

/// The sum of (x - centre), or of its square, over one row.
template <bool kSquared>
HWY_INLINE double SumOfRow(const float* x, int64_t width, float centre) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto middle = hn::Set(d, centre);
  auto even = hn::Zero(d), odd = hn::Zero(d);
  const auto add = [&](auto& sum, int64_t at) HWY_ATTR {
    const auto u = hn::Sub(hn::LoadU(d, x + at), middle);
    sum = kSquared ? hn::MulAdd(u, u, sum) : hn::Add(sum, u);
  };
  int64_t i = 0;
  for (; i + 2 * lanes <= width; i += 2 * lanes) {
    add(even, i);
    add(odd, i + lanes);
  }
  if (i + lanes <= width) {
    add(even, i);
    i += lanes;
  }
  double total = static_cast<double>(hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd))));
  for (; i < width; ++i) {
    const float u = x[i] - centre;
    total += static_cast<double>(kSquared ? u * u : u);
  }
  return total;
}

void LayerNorm(const float* x, const float* weight, const float* bias, float* out, int64_t rows, int64_t width,
               double eps) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const double count = static_cast<double>(width);
  for (; rows > 0; --rows, x += width, out += width) {
    // Around the first element, so that a large common offset costs no bits.
    const float pivot = x[0];
    const double shift = SumOfRow<false>(x, width, pivot) / count;
    const auto mean = static_cast<float>(static_cast<double>(pivot) + shift);
    const double variance = SumOfRow<true>(x, width, mean) / count;
    const auto inverse = static_cast<float>(1.0 / std::sqrt(variance + eps));
    const auto means = hn::Set(d, mean), inverses = hn::Set(d, inverse);
    int64_t i = 0;
    for (; i + lanes <= width; i += lanes) {
      const auto y = hn::Mul(hn::Sub(hn::LoadU(d, x + i), means), inverses);
      hn::StoreU(hn::MulAdd(y, hn::LoadU(d, weight + i), hn::LoadU(d, bias + i)), d, out + i);
    }
    for (; i < width; ++i) out[i] = (x[i] - mean) * inverse * weight[i] + bias[i];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace t2v::nn::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace t2v::nn::kernels {

HWY_EXPORT(LayerNorm);

void layer_norm_cpu(const float* x, const float* weight, const float* bias, float* out, int64_t rows, int64_t width,
                    double eps) {
  HWY_DYNAMIC_DISPATCH(LayerNorm)(x, weight, bias, out, rows, width, eps);
}

}  // namespace t2v::nn::kernels
#endif
