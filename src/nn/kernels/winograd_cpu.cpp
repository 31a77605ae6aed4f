// SPDX-License-Identifier: Apache-2.0
// A group of tiles is worked on while its transformed inputs and products stay in the second-level cache.
#include "nn/kernels/winograd.hpp"

#include <algorithm>
#include <array>
#include <vector>

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE_256 | HWY_SVE2 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nn/kernels/winograd_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "nn/kernels/vectors-inl.hpp"
#include "tensor/parallel.hpp"

#ifndef T2V_WINOGRAD_CALL
#define T2V_WINOGRAD_CALL
namespace t2v::nn::kernels {
namespace {

constexpr int64_t kTile = 4, kSide = 6, kPlaces = kSide * kSide;

int64_t tiles_across(int64_t pixels) { return (pixels + kTile - 1) / kTile; }
int64_t tiles_of_image(const ConvolutionShape& s) { return tiles_across(s.out_height) * tiles_across(s.out_width); }
int64_t in_vectors(int64_t outputs) { return (outputs + vector_lanes() - 1) / vector_lanes(); }

/// One call, with what all its tiles share.
struct WinogradCall {
  const std::array<const float*, 2>& x;
  const float* packed;
  float* out;
  const ConvolutionShape& s;
  const ConvolutionEnd& end;

  int64_t channels() const { return s.channels[0] + s.channels[1]; }
};

/// A tile by its first output pixel.
struct Tile {
  int64_t image, y, x;
  Tile(const ConvolutionShape& s, int64_t index)
      : image(index / tiles_of_image(s)),
        y(index % tiles_of_image(s) / tiles_across(s.out_width) * kTile),
        x(index % tiles_across(s.out_width) * kTile) {}
};

/// What a group of tiles needs between the three steps; one for each thread.
struct WinogradSpace {
  std::vector<float> inputs;    // [places, tiles, channels]
  std::vector<float> products;  // [places, tiles, outputs in whole vectors]
};

}  // namespace
}  // namespace t2v::nn::kernels
#endif  // T2V_WINOGRAD_CALL

HWY_BEFORE_NAMESPACE();
namespace t2v::nn::kernels {
namespace HWY_NAMESPACE {

/// B^T d: what one line of six pixels becomes.
HWY_INLINE void TransformInput(const V (&d)[kSide], V (&to)[kSide]) {
  const D tag;
  const V four = hn::Set(tag, 4.0f), five = hn::Set(tag, 5.0f), two = hn::Set(tag, 2.0f);
  const V even = hn::NegMulAdd(four, d[2], d[4]), odd = hn::NegMulAdd(four, d[1], d[3]);
  const V outer = hn::Sub(d[4], d[2]), twice = hn::Mul(two, hn::Sub(d[3], d[1]));
  to[0] = hn::MulAdd(four, d[0], hn::NegMulAdd(five, d[2], d[4]));
  to[1] = hn::Add(even, odd);
  to[2] = hn::Sub(even, odd);
  to[3] = hn::Add(outer, twice);
  to[4] = hn::Sub(outer, twice);
  to[5] = hn::MulAdd(four, d[1], hn::NegMulAdd(five, d[3], d[5]));
}

/// A^T m: four pixels of one line of six products.
HWY_INLINE void TransformOutput(const V (&m)[kSide], V (&to)[kTile]) {
  const D tag;
  const V sum = hn::Add(m[1], m[2]), difference = hn::Sub(m[1], m[2]);
  const V sum2 = hn::Add(m[3], m[4]), difference2 = hn::Sub(m[3], m[4]);
  to[0] = hn::Add(m[0], hn::Add(sum, sum2));
  to[1] = hn::MulAdd(hn::Set(tag, 2.0f), difference2, difference);
  to[2] = hn::MulAdd(hn::Set(tag, 4.0f), sum2, sum);
  to[3] = hn::Add(m[5], hn::MulAdd(hn::Set(tag, 8.0f), difference2, difference));
}

/// One vector of channels of one tile, from pixels that lie `row` and `pixel` floats apart.
struct Window {
  const float* image;
  int64_t corner;      // where the pixel left of and above the tile would be, in floats; may lie outside the image
  int64_t row, pixel;  // distances in floats
  int64_t top, bottom, left, right;  // lines and columns of the window that lie in the image
  bool is_inside() const { return top == 0 && left == 0 && bottom == kSide && right == kSide; }
};

template <bool kIsInside>
HWY_INLINE void TransformWindow(const Window& window, int64_t channel, int64_t count, float* to, int64_t place_stride) {
  const D d;
  V lines[kSide][kSide];  // [column, transformed line]
  for (int64_t column = 0; column < kSide; ++column) {
    V pixels[kSide];
    for (int64_t line = 0; line < kSide; ++line) {
      const int64_t at = window.corner + line * window.row + column * window.pixel + channel;
      const bool inside =
          kIsInside || (line >= window.top && line < window.bottom && column >= window.left && column < window.right);
      pixels[line] = inside ? LoadFirst(window.image + at, count) : hn::Zero(d);
    }
    TransformInput(pixels, lines[column]);
  }
  for (int64_t line = 0; line < kSide; ++line) {
    V across[kSide], done[kSide];
    for (int64_t column = 0; column < kSide; ++column) across[column] = lines[column][line];
    TransformInput(across, done);
    for (int64_t column = 0; column < kSide; ++column) {
      StoreFirst(done[column], to + (line * kSide + column) * place_stride, count);
    }
  }
}

void GatherTile(const WinogradCall& call, const Tile& tile, float* to, int64_t place_stride) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  const ConvolutionShape& s = call.s;
  for (size_t part = 0; part < 2; ++part) {
    const int64_t channels = s.channels[part];
    if (channels == 0) continue;
    const int64_t y = tile.y - 1, x = tile.x - 1;
    const Window window{call.x[part] + tile.image * s.height * s.width * channels,
                        (y * s.width + x) * channels,
                        s.width * channels,
                        channels,
                        std::max<int64_t>(0, -y),
                        std::min(kSide, s.height - y),
                        std::max<int64_t>(0, -x),
                        std::min(kSide, s.width - x)};
    for (int64_t channel = 0; channel < channels; channel += lanes, to += std::min(lanes, channels - channel + lanes)) {
      if (window.is_inside()) {
        TransformWindow<true>(window, channel, channels - channel, to, place_stride);
      } else {
        TransformWindow<false>(window, channel, channels - channel, to, place_stride);
      }
    }
  }
}

/// products [rows, vectors] = inputs [rows, channels] times one panel of the weight [channels, vectors].
template <int kRows, int kVectors>
HWY_INLINE void MultiplyBlock(const float* inputs, const float* panel, int64_t channels, float* products,
                              int64_t width) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V sums[kRows * kVectors];
  Each<kRows * kVectors>([&](auto i) T2V_INLINE { sums[i] = hn::Zero(d); });
  const float* p[kRows];
  Each<kRows>([&](auto i) T2V_INLINE { p[i] = inputs + i * channels; });
  for (int64_t k = 0; k < channels; ++k, panel += kVectors * lanes) {
    V w[kVectors];
    Each<kVectors>([&](auto v) T2V_INLINE { w[v] = hn::LoadU(d, panel + v * lanes); });
    Each<kRows>([&](auto i) T2V_INLINE {
      const V x = hn::Set(d, p[i][k]);
      Each<kVectors>([&](auto v) T2V_INLINE { sums[i * kVectors + v] = hn::MulAdd(x, w[v], sums[i * kVectors + v]); });
    });
  }
  Each<kRows>([&](auto i) T2V_INLINE {
    Each<kVectors>([&](auto v) T2V_INLINE { hn::StoreU(sums[i * kVectors + v], d, products + i * width + v * lanes); });
  });
}

void Multiply(const float* inputs, const float* weight, float* products, int64_t tiles, int64_t channels,
              int64_t width) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  int64_t column = 0;
  for (; column + 2 * lanes <= width; column += 2 * lanes, weight += 2 * lanes * channels) {
    EachBlockOfRows(0, tiles, [&](int64_t row, auto rows) {
      MultiplyBlock<rows, 2>(inputs + row * channels, weight, channels, products + row * width + column, width);
    });
  }
  if (column == width) return;
  EachBlockOfRows(0, tiles, [&](int64_t row, auto rows) {
    MultiplyBlock<rows, 1>(inputs + row * channels, weight, channels, products + row * width + column, width);
  });
}

/// One vector of outputs of one tile: the pixels that exist, with bias and residual.
void StoreTile(const WinogradCall& call, const Tile& tile, int64_t column, const float* products,
               int64_t place_stride) {
  const D d;
  const ConvolutionShape& s = call.s;
  const ConvolutionEnd& e = call.end;
  const int64_t count = s.outputs - column, first_row = tile.image * s.out_height * s.out_width;
  const int64_t video = e.rows_per_bias ? first_row / e.rows_per_bias : 0;
  const V bias = e.bias ? LoadFirst(e.bias + video * s.outputs + column, count) : hn::Zero(d);
  V lines[kSide][kTile];  // [column, line of pixels]
  for (int64_t across = 0; across < kSide; ++across) {
    V down[kSide];
    for (int64_t line = 0; line < kSide; ++line) {
      down[line] = hn::LoadU(d, products + (line * kSide + across) * place_stride);
    }
    TransformOutput(down, lines[across]);
  }
  const int64_t last_line = std::min(kTile, s.out_height - tile.y), last_pixel = std::min(kTile, s.out_width - tile.x);
  for (int64_t line = 0; line < last_line; ++line) {
    V across[kSide], pixels[kTile];
    for (int64_t i = 0; i < kSide; ++i) across[i] = lines[i][line];
    TransformOutput(across, pixels);
    for (int64_t i = 0; i < last_pixel; ++i) {
      const int64_t at = (first_row + (tile.y + line) * s.out_width + tile.x + i) * s.outputs + column;
      V pixel = hn::Add(pixels[i], bias);
      if (e.residual) pixel = hn::Add(pixel, LoadFirst(e.residual + at, count));
      StoreFirst(pixel, call.out + at, count);
    }
  }
}

void RunTiles(const WinogradCall& call, WinogradSpace& space, int64_t first, int64_t last) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  const int64_t tiles = last - first, channels = call.channels(), width = in_vectors(call.s.outputs) * lanes;
  space.inputs.resize(static_cast<size_t>(kPlaces * tiles * channels));
  space.products.resize(static_cast<size_t>(kPlaces * tiles * width));
  for (int64_t i = 0; i < tiles; ++i) {
    GatherTile(call, Tile(call.s, first + i), space.inputs.data() + i * channels, tiles * channels);
  }
  for (int64_t place = 0; place < kPlaces; ++place) {
    Multiply(space.inputs.data() + place * tiles * channels, call.packed + place * width * channels,
             space.products.data() + place * tiles * width, tiles, channels, width);
  }
  for (int64_t i = 0; i < tiles; ++i) {
    const Tile tile(call.s, first + i);
    for (int64_t column = 0; column < width; column += lanes) {
      StoreTile(call, tile, column, space.products.data() + i * width + column, tiles * width);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace t2v::nn::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace t2v::nn::kernels {

HWY_EXPORT(RunTiles);

namespace {

/// G g G^T in double: the weight of one output and one input channel, [3, 3] with `stride` between taps -> [36].
std::array<double, kPlaces> transform_weight(const float* taps, int64_t stride) {
  constexpr double kG[kSide][3] = {{1.0 / 4, 0, 0},
                                   {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                   {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                   {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                   {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                   {0, 0, 1}};
  double lines[kSide][3] = {};
  for (int64_t i = 0; i < kSide; ++i) {
    for (int64_t k = 0; k < 9; ++k) lines[i][k % 3] += kG[i][k / 3] * static_cast<double>(taps[k * stride]);
  }
  std::array<double, kPlaces> out{};
  for (int64_t i = 0; i < kPlaces; ++i) {
    for (int64_t k = 0; k < 3; ++k) out[static_cast<size_t>(i)] += lines[i / kSide][k] * kG[i % kSide][k];
  }
  return out;
}

int64_t tiles_of(const ConvolutionShape& s) { return s.images * tiles_of_image(s); }

}  // namespace

bool winograd_fits(int64_t channels, int64_t outputs) {
  constexpr int64_t kMost = 256 * 256, kFewest = 8;
  return channels >= kFewest && outputs >= kFewest && channels * outputs <= kMost;
}

bool winograd_pays(const ConvolutionShape& s) {
  const bool is_usual = s.kernel[0] == 3 && s.kernel[1] == 3 && s.stride[0] == 1 && s.stride[1] == 1 &&
                        s.padding[0] == 1 && s.padding[1] == 1 && s.parity < 0;
  // Tiles that are mostly outside the image save nothing.
  return is_usual && kPlaces * tiles_of_image(s) * 3 <= 2 * 9 * s.out_height * s.out_width;
}

int64_t winograd_size(int64_t channels, int64_t outputs) {
  return kPlaces * channels * in_vectors(outputs) * vector_lanes();
}

void winograd_pack(const float* weight, float* packed, int64_t channels, int64_t outputs) {
  const int64_t lanes = vector_lanes(), vectors = in_vectors(outputs), place_stride = vectors * lanes * channels;
  parallel_for(vectors, 1, [&](int64_t first, int64_t last) {
    for (int64_t output = first * lanes; output < last * lanes; ++output) {
      // Panels of two vectors, the last one perhaps of one: [panel, channel, output in the panel].
      const int64_t panel = output / (2 * lanes), in_panel = std::min<int64_t>(2, vectors - 2 * panel) * lanes;
      float* to = packed + panel * 2 * lanes * channels + output % (2 * lanes);
      for (int64_t channel = 0; channel < channels; ++channel, to += in_panel) {
        const auto places = output < outputs ? transform_weight(weight + output * 9 * channels + channel, channels)
                                             : std::array<double, kPlaces>{};
        for (int64_t i = 0; i < kPlaces; ++i) to[i * place_stride] = static_cast<float>(places[static_cast<size_t>(i)]);
      }
    }
  });
}

int64_t winograd_tasks(const ConvolutionShape& s) {
  constexpr int64_t kSpace = 512 << 10;  // bytes between the steps: what a second-level cache holds
  constexpr int64_t kFewestTiles = 12, kTasks = 16;
  const int64_t tiles = tiles_of(s);
  const int64_t each = kPlaces * static_cast<int64_t>(sizeof(float)) *
                       (s.channels[0] + s.channels[1] + in_vectors(s.outputs) * vector_lanes());
  const int64_t for_cache = std::max(kFewestTiles, kSpace / each / kFewestTiles * kFewestTiles);
  const int64_t for_balance = std::max(kFewestTiles, tiles / kTasks);
  const int64_t in_task = std::min(for_cache, for_balance);
  return (tiles + in_task - 1) / in_task;
}

void winograd_cpu(const std::array<const float*, 2>& x, const float* packed, float* out, const ConvolutionShape& shape,
                  const ConvolutionEnd& end, int64_t first, int64_t last) {
  const WinogradCall call{x, packed, out, shape, end};
  const int64_t tiles = tiles_of(shape), tasks = winograd_tasks(shape);
  // Kept by the thread: asked for anew in every layer, it would tear holes into the heap.
  static thread_local WinogradSpace space;
  for (int64_t task = first; task < last; ++task) {
    HWY_DYNAMIC_DISPATCH(RunTiles)(call, space, task * tiles / tasks, (task + 1) * tiles / tasks);
  }
}

}  // namespace t2v::nn::kernels
#endif
