// SPDX-License-Identifier: Apache-2.0
// Rows of pixels with the widest vectors of the machine. The same integers whatever the vectors: they change the speed
// only.
#include "media/color.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "media/color.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "core/bt709.hpp"

HWY_BEFORE_NAMESPACE();
namespace t2v::media {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using bt709::Factors;

constexpr int kSquareBits = bt709::kBits + 2;  // of factors for sums of four pixels

inline uint8_t Level(int32_t r, int32_t g, int32_t b, const Factors& f, int bits) {
  return static_cast<uint8_t>((f.r * r + f.g * g + f.b * b + (f.offset << bits) + (1 << (bits - 1))) >> bits);
}

#if HWY_TARGET != HWY_SCALAR
using Bytes = hn::ScalableTag<uint8_t>;
using Words = hn::Repartition<int16_t, Bytes>;
using Sums = hn::Repartition<int32_t, Bytes>;

/// Red and green side by side, then blue and nothing: what a product of pairs takes. In halves, each in the order of
/// the 128-bit blocks that ReorderDemote2To() undoes.
struct Pairs {
  hn::Vec<Words> red_green[2], blue[2];
  Pairs(hn::Vec<Words> r, hn::Vec<Words> g, hn::Vec<Words> b) {
    const Words d;
    red_green[0] = hn::InterleaveLower(d, r, g);
    red_green[1] = hn::InterleaveUpper(d, r, g);
    blue[0] = hn::InterleaveLower(d, b, hn::Zero(d));
    blue[1] = hn::InterleaveUpper(d, b, hn::Zero(d));
  }
};

/// The levels of one plane, exactly as Level(): a factor of 21 bits is 2^kSplit times one of 16 bits and a rest,
/// because a product of pairs of 16-bit numbers is the cheapest that adds up in 32 bits.
template <int bits>
class Projection {
 public:
  explicit Projection(const Factors& f)
      : high_red_green_(Pair(f.r >> kSplit, f.g >> kSplit)),
        high_blue_(Pair(f.b >> kSplit, 0)),
        low_red_green_(Pair(f.r & kRest, f.g & kRest)),
        low_blue_(Pair(f.b & kRest, 0)),
        rounding_(hn::Set(Sums(), (f.offset << bits) + (1 << (bits - 1)))) {}

  hn::Vec<Words> operator()(const Pairs& x) const {
    return hn::ReorderDemote2To(Words(), Half(x.red_green[0], x.blue[0]), Half(x.red_green[1], x.blue[1]));
  }

 private:
  static constexpr int kSplit = 12, kRest = (1 << kSplit) - 1;
  static hn::Vec<Words> Pair(int32_t first, int32_t second) {
    const auto upper = static_cast<int32_t>(static_cast<uint32_t>(second) << 16);
    return hn::BitCast(Words(), hn::Set(Sums(), upper | (first & 0xFFFF)));
  }
  /// One sum for red, green and blue of a pixel, beginning with `sum`.
  static hn::Vec<Sums> Dot(hn::Vec<Words> red_green, hn::Vec<Words> by, hn::Vec<Words> blue, hn::Vec<Words> blue_by,
                           hn::Vec<Sums> sum) {
    const Sums d;
    auto other = hn::Zero(d);
    sum = hn::ReorderWidenMulAccumulate(d, red_green, by, sum, other);
    sum = hn::ReorderWidenMulAccumulate(d, blue, blue_by, sum, other);
    return hn::RearrangeToOddPlusEven(sum, other);
  }
  hn::Vec<Sums> Half(hn::Vec<Words> red_green, hn::Vec<Words> blue) const {
    const auto high = Dot(red_green, high_red_green_, blue, high_blue_, hn::Zero(Sums()));
    const auto low = Dot(red_green, low_red_green_, blue, low_blue_, hn::Zero(Sums()));
    return hn::ShiftRight<bits>(hn::Add(hn::Add(hn::ShiftLeft<kSplit>(high), low), rounding_));
  }
  hn::Vec<Words> high_red_green_, high_blue_, low_red_green_, low_blue_;
  hn::Vec<Sums> rounding_;
};

/// A vector of pixels as 16-bit numbers: the even ones and the odd ones.
struct Pixels {
  struct Half {
    hn::Vec<Words> r, g, b;
    Pairs pairs() const { return {r, g, b}; }
  };
  Half even, odd;

  explicit Pixels(const uint8_t* rgb) {
    hn::Vec<Bytes> r, g, b;
    hn::LoadInterleaved3(Bytes(), rgb, r, g, b);
    const auto low = [](hn::Vec<Bytes> x) { return hn::And(hn::BitCast(Words(), x), hn::Set(Words(), 0xFF)); };
    const auto high = [](hn::Vec<Bytes> x) {
      return hn::BitCast(Words(), hn::ShiftRight<8>(hn::BitCast(hn::Repartition<uint16_t, Bytes>(), x)));
    };
    even = {low(r), low(g), low(b)};
    odd = {high(r), high(g), high(b)};
  }
};

template <int bits>
inline void Store(const Projection<bits>& plane, const Pixels& x, uint8_t* to) {
  const auto both = hn::Or(plane(x.even.pairs()), hn::ShiftLeft<8>(plane(x.odd.pairs())));
  hn::StoreU(hn::BitCast(Bytes(), both), Bytes(), to);
}

/// The sums of 2 x 2 pixels.
inline Pairs SumSquares(const Pixels& top, const Pixels& bottom) {
  const auto sum = [&](auto channel) {
    return hn::Add(hn::Add(top.even.*channel, top.odd.*channel), hn::Add(bottom.even.*channel, bottom.odd.*channel));
  };
  return {sum(&Pixels::Half::r), sum(&Pixels::Half::g), sum(&Pixels::Half::b)};
}

/// f(x) from 0 to `width`, a vector of pixels at a time; the last one is moved back so that it ends there, and writes
/// some numbers again. Nothing, and false, for rows shorter than a vector.
template <class F>
inline bool Cover(int64_t width, const F& f) {
  const auto step = static_cast<int64_t>(hn::Lanes(Bytes()));
  if (width < step) return false;
  for (int64_t x = 0; x + step <= width; x += step) f(x);
  if (width % step != 0) f(width - step);
  return true;
}

bool WideRow444(const uint8_t* rgb, int64_t width, uint8_t* y, uint8_t* u, uint8_t* v) {
  const Projection<bt709::kBits> to_y(bt709::kY), to_u(bt709::kU), to_v(bt709::kV);
  return Cover(width, [&](int64_t x) {
    const Pixels pixels(rgb + 3 * x);
    Store(to_y, pixels, y + x);
    Store(to_u, pixels, u + x);
    Store(to_v, pixels, v + x);
  });
}

bool WideRows420(const uint8_t* top, const uint8_t* bottom, int64_t width, const YuvPlanes& out) {
  const Projection<bt709::kBits> to_y(bt709::kY);
  const Projection<kSquareBits> to_u(bt709::kU), to_v(bt709::kV);
  const hn::Rebind<uint8_t, Words> half;
  return Cover(width, [&](int64_t x) {
    const Pixels above(top + 3 * x), below(bottom + 3 * x);
    Store(to_y, above, out.y + x);
    Store(to_y, below, out.y + out.y_stride + x);
    const Pairs squares = SumSquares(above, below);
    hn::StoreU(hn::DemoteTo(half, to_u(squares)), half, out.u + x / 2);
    hn::StoreU(hn::DemoteTo(half, to_v(squares)), half, out.v + x / 2);
  });
}
#else
bool WideRow444(const uint8_t*, int64_t, uint8_t*, uint8_t*, uint8_t*) { return false; }
bool WideRows420(const uint8_t*, const uint8_t*, int64_t, const YuvPlanes&) { return false; }
#endif

void Row444(const uint8_t* rgb, int64_t width, uint8_t* y, uint8_t* u, uint8_t* v) {
  if (WideRow444(rgb, width, y, u, v)) return;
  for (int64_t x = 0; x < width; ++x) {
    const uint8_t* p = rgb + 3 * x;
    y[x] = Level(p[0], p[1], p[2], bt709::kY, bt709::kBits);
    u[x] = Level(p[0], p[1], p[2], bt709::kU, bt709::kBits);
    v[x] = Level(p[0], p[1], p[2], bt709::kV, bt709::kBits);
  }
}

/// Two rows of pixels to two of luma and one of chroma.
void Rows420(const uint8_t* top, const uint8_t* bottom, int64_t width, const YuvPlanes& out) {
  if (WideRows420(top, bottom, width, out)) return;
  for (int64_t x = 0; x < width; ++x) {
    const uint8_t *above = top + 3 * x, *below = bottom + 3 * x;
    out.y[x] = Level(above[0], above[1], above[2], bt709::kY, bt709::kBits);
    out.y[out.y_stride + x] = Level(below[0], below[1], below[2], bt709::kY, bt709::kBits);
    if (x % 2 != 0) continue;
    const auto sum = [&](int c) { return above[c] + above[c + 3] + below[c] + below[c + 3]; };
    out.u[x / 2] = Level(sum(0), sum(1), sum(2), bt709::kU, kSquareBits);
    out.v[x / 2] = Level(sum(0), sum(1), sum(2), bt709::kV, kSquareBits);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace t2v::media
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace t2v::media {

HWY_EXPORT(Row444);
HWY_EXPORT(Rows420);

void rgb_to_yuv444_bt709(const uint8_t* rgb, int64_t width, int64_t height, const YuvPlanes& out) {
  for (int64_t y = 0; y < height; ++y) {
    HWY_DYNAMIC_DISPATCH(Row444)
    (rgb + 3 * width * y, width, out.y + y * out.y_stride, out.u + y * out.uv_stride, out.v + y * out.uv_stride);
  }
}

void rgb_to_yuv420_bt709(const uint8_t* rgb, int64_t width, int64_t height, const YuvPlanes& out) {
  for (int64_t y = 0; y < height; y += 2) {
    const uint8_t* top = rgb + 3 * width * y;
    const int64_t chroma = y / 2 * out.uv_stride;
    HWY_DYNAMIC_DISPATCH(Rows420)
    (top, top + 3 * width, width,
     YuvPlanes{out.y + y * out.y_stride, out.u + chroma, out.v + chroma, out.y_stride, out.uv_stride});
  }
}

}  // namespace t2v::media
#endif
