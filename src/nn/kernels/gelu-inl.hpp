// SPDX-License-Identifier: Apache-2.0
// Exact GELU on vectors. Included once for each set of instructions, hence the guard that toggles.
#if defined(T2V_NN_KERNELS_GELU_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef T2V_NN_KERNELS_GELU_INL
#undef T2V_NN_KERNELS_GELU_INL
#else
#define T2V_NN_KERNELS_GELU_INL
#endif

#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace t2v::nn::kernels {
namespace HWY_NAMESPACE {

/// erf(x) = sign(x) (1 - exp(-t q(t))), t = |x|. q is a least-squares fit of -ln(erfc(t)) / t on [0, 4], weighted for
/// the error of erf: at most 1.3e-7 in fp32. From t = 4 on erf is 1 in fp32.
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V Erf(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  constexpr float kQ[] = {1.128380298614502f,      0.6365973949432373f,    0.10292132198810577f,
                          -0.019587695598602295f,  0.0005411551101133227f, 0.0010298796696588397f,
                          -0.0003080539172515273f, 3.13542659569066e-05f};
  const V t = hn::Min(hn::Abs(x), hn::Set(d, 4.0f));
  V q = hn::Set(d, kQ[7]);
  for (int i = 6; i >= 0; --i) q = hn::MulAdd(q, t, hn::Set(d, kQ[i]));
  const V one = hn::Set(d, 1.0f);
  return hn::CopySign(hn::Sub(one, hn::Exp(d, hn::Neg(hn::Mul(t, q)))), x);
}

/// hidden * gelu(gate)
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V Gated(D d, V hidden, V gate) {
  namespace hn = hwy::HWY_NAMESPACE;
  const V half = hn::Mul(gate, hn::Set(d, 0.5f));
  const V erf = Erf(d, hn::Mul(gate, hn::Set(d, 0.70710678118654752f)));
  return hn::Mul(hidden, hn::MulAdd(half, erf, half));
}

}  // namespace HWY_NAMESPACE
}  // namespace t2v::nn::kernels
HWY_AFTER_NAMESPACE();

#endif  // the guard
