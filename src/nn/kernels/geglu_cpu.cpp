// SPDX-License-Identifier: Apache-2.0
// ATen needs three passes over memory (a strided GELU, a product, a copy); this needs one.
#include "nn/kernels/geglu.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nn/kernels/geglu_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "nn/kernels/gelu-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace t2v::nn::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
void Geglu(const float* x, float* out, int64_t rows, int64_t width) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t row = 0; row < rows; ++row) {
    const float* hidden = x + row * 2 * width;
    const float* gate = hidden + width;
    float* to = out + row * width;
    int64_t i = 0;
    for (; i + lanes <= width; i += lanes) {
      hn::StoreU(Gated(d, hn::LoadU(d, hidden + i), hn::LoadU(d, gate + i)), d, to + i);
    }
    if (i < width) {
      const auto tail = hn::FirstN(d, static_cast<size_t>(width - i));
      const auto value = Gated(d, hn::MaskedLoad(tail, d, hidden + i), hn::MaskedLoad(tail, d, gate + i));
      hn::BlendedStore(value, tail, d, to + i);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace t2v::nn::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace t2v::nn::kernels {

HWY_EXPORT(Geglu);

void geglu_cpu(const float* x, float* out, int64_t rows, int64_t width) {
  HWY_DYNAMIC_DISPATCH(Geglu)(x, out, rows, width);
}

}  // namespace t2v::nn::kernels
#endif
