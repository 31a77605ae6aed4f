// SPDX-License-Identifier: Apache-2.0
// ATen needs three passes over memory (a strided GELU, a product, a copy); this needs one.
#include "nn/kernels/geglu.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nn/kernels/geglu_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace t2v::nn::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

/// erf(x) = sign(x) (1 - exp(-t q(t))), t = |x|. q is a least-squares fit of -ln(erfc(t)) / t on [0, 4], weighted for
/// the error of erf: at most 1.3e-7 in fp32. From t = 4 on erf is 1 in fp32.
HWY_INLINE V Erf(D d, V x) {
  constexpr float kQ[] = {1.128380298614502f,     0.6365973949432373f,    0.10292132198810577f,
                          -0.019587695598602295f, 0.0005411551101133227f, 0.0010298796696588397f,
                          -0.0003080539172515273f, 3.13542659569066e-05f};
  const V t = hn::Min(hn::Abs(x), hn::Set(d, 4.0f));
  V q = hn::Set(d, kQ[7]);
  for (int i = 6; i >= 0; --i) q = hn::MulAdd(q, t, hn::Set(d, kQ[i]));
  const V one = hn::Set(d, 1.0f);
  return hn::CopySign(hn::Sub(one, hn::Exp(d, hn::Neg(hn::Mul(t, q)))), x);
}

HWY_INLINE V Gated(D d, V hidden, V gate) {
  const V half = hn::Mul(gate, hn::Set(d, 0.5f));
  const V erf = Erf(d, hn::Mul(gate, hn::Set(d, 0.70710678118654752f)));
  return hn::Mul(hidden, hn::MulAdd(half, erf, half));
}

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
      const V value = Gated(d, hn::MaskedLoad(tail, d, hidden + i), hn::MaskedLoad(tail, d, gate + i));
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
