// SPDX-License-Identifier: Apache-2.0
// Small tools of the kernels that keep arrays of vectors in registers. Included once for each set of instructions,
// hence the guard that toggles.
#if defined(T2V_NN_KERNELS_VECTORS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef T2V_NN_KERNELS_VECTORS_INL
#undef T2V_NN_KERNELS_VECTORS_INL
#else
#define T2V_NN_KERNELS_VECTORS_INL
#endif

#include <cstddef>
#include <cstdint>
#include <utility>

#include <hwy/highway.h>

// Sums in registers must never have an address, so what touches them is inlined whatever the compiler thinks of its
// size.
#undef T2V_INLINE
#define T2V_INLINE __attribute__((always_inline))

HWY_BEFORE_NAMESPACE();
namespace t2v::nn::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

/// Rows of sums, two vectors each, that the registers hold beside the operands.
#if HWY_TARGET == HWY_AVX3
constexpr int kMostRows = 12;
#elif HWY_TARGET == HWY_AVX2
constexpr int kMostRows = 6;
#else
constexpr int kMostRows = 4;
#endif

/// f(0), f(1), ... with indices known to the compiler, so that an array of vectors becomes registers.
template <size_t... I, class F>
HWY_INLINE void EachOf(std::index_sequence<I...>, F&& f) {
  (f(std::integral_constant<int, static_cast<int>(I)>()), ...);
}
template <int kCount, class F>
HWY_INLINE void Each(F&& f) {
  EachOf(std::make_index_sequence<static_cast<size_t>(kCount)>(), f);
}

/// f(row, rows known to the compiler) over [first, last), in blocks as large as the registers allow.
template <class F>
HWY_INLINE void EachBlockOfRows(int64_t first, int64_t last, F&& f) {
  constexpr int kMany = kMostRows * 2 / 3, kFew = kMostRows / 3;
  const auto block = [&](auto rows) {
    f(first, rows);
    first += rows;
  };
  while (first < last) {
    if (last - first >= kMostRows) {
      block(std::integral_constant<int, kMostRows>());
    } else if (last - first >= kMany) {
      block(std::integral_constant<int, kMany>());
    } else if (last - first >= kFew) {
      block(std::integral_constant<int, kFew>());
    } else {
      block(std::integral_constant<int, 1>());
    }
  }
}

HWY_INLINE V LoadFirst(const float* from, int64_t count) {
  const D d;
  if (count >= static_cast<int64_t>(hn::Lanes(d))) return hn::LoadU(d, from);
  HWY_ALIGN float part[HWY_MAX_BYTES / sizeof(float)] = {};
  for (int64_t i = 0; i < count; ++i) part[i] = from[i];
  return hn::Load(d, part);
}

HWY_INLINE void StoreFirst(V value, float* to, int64_t count) {
  const D d;
  if (count >= static_cast<int64_t>(hn::Lanes(d))) return hn::StoreU(value, d, to);
  HWY_ALIGN float part[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(value, d, part);
  for (int64_t i = 0; i < count; ++i) to[i] = part[i];
}

}  // namespace HWY_NAMESPACE
}  // namespace t2v::nn::kernels
HWY_AFTER_NAMESPACE();

#endif  // the guard
