// SPDX-License-Identifier: Apache-2.0
// Twelve rows (six and four with fewer registers) by two vectors of outputs stay in registers over the whole depth. The
// weight lies in panels of two vectors, so it streams from the second-level cache; rows are read where they lie.
#include "nn/kernels/convolution.hpp"

#include <algorithm>
#include <memory>

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE_256 | HWY_SVE2 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nn/kernels/convolution_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "nn/kernels/gelu-inl.hpp"
#include "nn/kernels/vectors-inl.hpp"
#include "tensor/parallel.hpp"

#ifndef T2V_CONVOLUTION_CALL
#define T2V_CONVOLUTION_CALL
namespace t2v::nn::kernels {
namespace {

constexpr int64_t kBlock = 12;  // rows; tasks are cut between blocks

/// One call of the fast form, with what all its blocks share.
struct ConvolutionCall {
  const std::array<const float*, 2>& x;
  const float* packed;
  float* out;
  const ConvolutionShape& s;
  const ConvolutionEnd& end;
  std::vector<float> zeros;  // what lies in the padding

  int64_t top() const { return s.parity < 0 ? s.padding[0] : 1 - s.parity / 2; }
  int64_t left() const { return s.parity < 0 ? s.padding[1] : 1 - s.parity % 2; }
};

/// The rows of one block: pointers [tap][part][row], whether a tap has any pixel, and where the results go.
struct GatheredRows {
  std::vector<const float*> pointers;
  std::vector<char> used;
  std::array<int64_t, kBlock> out_row{}, bias_row{};

  void gather(const ConvolutionCall& call, int64_t first, int64_t count) {
    const ConvolutionShape& s = call.s;
    pointers.resize(static_cast<size_t>(s.taps() * 2 * count));
    used.assign(static_cast<size_t>(s.taps()), 0);
    // Divisions once a block: this runs for every twelve rows.
    int64_t x = first % s.out_width, y = first / s.out_width % s.out_height;
    int64_t image = first / s.out_width / s.out_height;
    int64_t video = call.end.rows_per_bias ? first / call.end.rows_per_bias : 0;
    for (int64_t i = 0; i < count; ++i) {
      const auto slot = static_cast<size_t>(i);
      out_row[slot] = s.parity < 0
                          ? first + i
                          : (image * 2 * s.out_height + 2 * y + s.parity / 2) * 2 * s.out_width + 2 * x + s.parity % 2;
      if (call.end.rows_per_bias && first + i >= (video + 1) * call.end.rows_per_bias) ++video;
      bias_row[slot] = video;
      gather_row(call, count, i, {image, y * s.stride[0] - call.top(), x * s.stride[1] - call.left()});
      if (++x == s.out_width) {
        x = 0;
        if (++y == s.out_height) {
          y = 0;
          ++image;
        }
      }
    }
  }

 private:
  struct Corner {
    int64_t image, y, x;  // of the pixel under the first tap; y and x may lie in the padding
  };
  void gather_row(const ConvolutionCall& call, int64_t count, int64_t i, const Corner& corner) {
    const ConvolutionShape& s = call.s;
    const float** to = pointers.data() + i;
    char* seen = used.data();
    for (int64_t y = corner.y; y < corner.y + s.kernel[0]; ++y) {
      const bool row_inside = y >= 0 && y < s.height;
      const int64_t line = (corner.image * s.height + y) * s.width;
      for (int64_t x = corner.x; x < corner.x + s.kernel[1]; ++x, to += 2 * count, ++seen) {
        const bool inside = row_inside && x >= 0 && x < s.width;
        *seen |= static_cast<char>(inside);
        to[0] = inside ? call.x[0] + (line + x) * s.channels[0] : call.zeros.data();
        if (s.channels[1] > 0) to[count] = inside ? call.x[1] + (line + x) * s.channels[1] : call.zeros.data();
      }
    }
  }
};

}  // namespace
}  // namespace t2v::nn::kernels
#endif  // T2V_CONVOLUTION_CALL

HWY_BEFORE_NAMESPACE();
namespace t2v::nn::kernels {
namespace HWY_NAMESPACE {
/// results [rows, vectors, lanes] of one panel -> the output, with bias and residual. kIsWhole: all columns exist.
template <bool kIsWhole>
void Finish(const ConvolutionCall& call, const GatheredRows& rows, int64_t panel, int64_t count, int64_t vectors,
            const float* results) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const ConvolutionEnd& e = call.end;
  const int64_t outputs = call.s.outputs;
  for (int64_t i = 0; i < count; ++i) {
    const auto slot = static_cast<size_t>(i);
    const int64_t first = panel * 2 * lanes, row = rows.out_row[slot] * outputs;
    const float* bias = e.bias ? e.bias + rows.bias_row[slot] * outputs : nullptr;
    for (int64_t column = first; column < first + vectors * lanes; column += lanes, results += lanes) {
      const int64_t left = kIsWhole ? lanes : outputs - column;
      V result = hn::Load(d, results);
      if (bias) result = hn::Add(result, LoadFirst(bias + column, left));
      if (e.residual) result = hn::Add(result, LoadFirst(e.residual + row + column, left));
      StoreFirst(result, call.out + row + column, left);
    }
  }
}

/// The same for a panel of hidden values and their gates.
void FinishGated(const ConvolutionCall& call, const GatheredRows& rows, int64_t panel, int64_t count,
                 const float* results) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const ConvolutionEnd& e = call.end;
  const int64_t width = call.s.outputs / 2, column = panel * lanes;
  for (int64_t i = 0; i < count; ++i, results += 2 * lanes) {
    const auto slot = static_cast<size_t>(i);
    V hidden = hn::Load(d, results), gate = hn::Load(d, results + lanes);
    if (e.bias) {
      const float* bias = e.bias + rows.bias_row[slot] * call.s.outputs + column;
      hidden = hn::Add(hidden, hn::LoadU(d, bias));
      gate = hn::Add(gate, hn::LoadU(d, bias + width));
    }
    V result = Gated(d, hidden, gate);
    const int64_t at = rows.out_row[slot] * width + column;
    if (e.residual) result = hn::Add(result, hn::LoadU(d, e.residual + at));
    hn::StoreU(result, d, call.out + at);
  }
}

/// kRows rows times one panel of kVectors vectors.
template <int kRows, int kVectors>
HWY_NOINLINE void Block(const ConvolutionCall& call, const GatheredRows& rows, int64_t panel) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const ConvolutionShape& s = call.s;
  const float* b = call.packed + panel * 2 * lanes * s.depth();
  V sums[kRows * kVectors];
  Each<kRows * kVectors>([&](auto i) T2V_INLINE { sums[i] = hn::Zero(d); });

  const float* const* pointers = rows.pointers.data();
  for (int64_t tap = 0; tap < s.taps(); ++tap) {
    for (size_t part = 0; part < 2; ++part, pointers += kRows) {
      const int64_t channels = s.channels[part];
      if (channels == 0) continue;
      const float* const end = b + channels * kVectors * lanes;
      if (!rows.used[static_cast<size_t>(tap)]) {
        b = end;
        continue;
      }
      const float* p[kRows];
      Each<kRows>([&](auto i) T2V_INLINE { p[i] = pointers[i]; });
      for (int64_t k = 0; k < channels; ++k, b += kVectors * lanes) {
        V w[kVectors];
        Each<kVectors>([&](auto v) T2V_INLINE { w[v] = hn::LoadU(d, b + v * lanes); });
        Each<kRows>([&](auto i) T2V_INLINE {
          const V x = hn::Set(d, p[i][k]);
          Each<kVectors>([&](auto v)
                             T2V_INLINE { sums[i * kVectors + v] = hn::MulAdd(x, w[v], sums[i * kVectors + v]); });
        });
      }
    }
  }

  HWY_ALIGN float results[kRows * kVectors * HWY_MAX_BYTES / sizeof(float)];
  Each<kRows * kVectors>([&](auto i) T2V_INLINE { hn::Store(sums[i], d, results + i * lanes); });
  if (call.end.gated) {
    FinishGated(call, rows, panel, kRows, results);
  } else if ((panel * 2 + kVectors) * lanes <= s.outputs) {
    Finish<true>(call, rows, panel, kRows, kVectors, results);
  } else {
    Finish<false>(call, rows, panel, kRows, kVectors, results);
  }
}

template <int kRows>
void Panels(const ConvolutionCall& call, GatheredRows& rows, int64_t first_row, int64_t panel, int64_t last_panel) {
  const int64_t panel_width = 2 * static_cast<int64_t>(hn::Lanes(D()));
  rows.gather(call, first_row, kRows);
  for (; panel < last_panel; ++panel) {
    if (call.s.outputs - panel * panel_width > panel_width / 2) {
      Block<kRows, 2>(call, rows, panel);
    } else {
      Block<kRows, 1>(call, rows, panel);
    }
  }
}

int64_t Panelled(int64_t outputs) {
  const int64_t width = 2 * static_cast<int64_t>(hn::Lanes(D()));
  return (outputs + width - 1) / width;
}

void RunTask(const ConvolutionCall& call, GatheredRows& rows, const ConvolutionTasks& tasks, int64_t task) {
  const int64_t row_task = task % tasks.row_tasks, column_task = task / tasks.row_tasks;
  const int64_t blocks = (call.s.rows() + kBlock - 1) / kBlock, panels = Panelled(call.s.outputs);
  const int64_t row = row_task * blocks / tasks.row_tasks * kBlock;
  const int64_t last = std::min((row_task + 1) * blocks / tasks.row_tasks * kBlock, call.s.rows());
  const int64_t panel = column_task * panels / tasks.column_tasks;
  const int64_t last_panel = (column_task + 1) * panels / tasks.column_tasks;
  EachBlockOfRows(
      row, last, [&](int64_t first, auto rows_at_once) { Panels<rows_at_once>(call, rows, first, panel, last_panel); });
}

void RunTasks(const ConvolutionCall& call, const ConvolutionTasks& tasks, int64_t first, int64_t last) {
  GatheredRows rows;
  for (int64_t task = first; task < last; ++task) RunTask(call, rows, tasks, task);
}

int64_t LanesOf() { return static_cast<int64_t>(hn::Lanes(D())); }

}  // namespace HWY_NAMESPACE
}  // namespace t2v::nn::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace t2v::nn::kernels {

HWY_EXPORT(RunTasks);
HWY_EXPORT(LanesOf);

int64_t vector_lanes() {
  static const int64_t lanes = HWY_DYNAMIC_DISPATCH(LanesOf)();
  return lanes;
}

int64_t packed_size(int64_t outputs, int64_t depth) {
  const int64_t lanes = vector_lanes();
  return (outputs + lanes - 1) / lanes * lanes * depth;
}

namespace {

/// rows [width, channels, taps] -> to [taps, channels, width], in blocks that stay in the first-level cache.
void interleave(const float* rows, float* to, int64_t width, const StoredShape& s) {
  const int64_t block = std::max<int64_t>(1, 64 / s.taps);
  for (int64_t begin = 0; begin < s.channels; begin += block) {
    const int64_t end = std::min(s.channels, begin + block);
    for (int64_t row = 0; row < width; ++row) {
      const float* from = rows + row * s.depth() + begin * s.taps;
      for (int64_t channel = begin; channel < end; ++channel) {
        for (int64_t tap = 0; tap < s.taps; ++tap) to[(tap * s.channels + channel) * width + row] = *from++;
      }
    }
  }
}

}  // namespace

void pack(const RowReader& read, float* packed, const StoredShape& s, bool gated) {
  const int64_t lanes = vector_lanes(), vectors = (s.outputs + lanes - 1) / lanes;
  const auto pack_panel = [&](int64_t panel, float* rows) {
    const int64_t in_panel = std::min<int64_t>(2, vectors - 2 * panel);
    for (int64_t v = 0; v < in_panel; ++v) {
      const int64_t first = gated ? v * s.outputs / 2 + panel * lanes : (2 * panel + v) * lanes;
      const int64_t count = std::min(lanes, s.outputs - first);
      float* to = rows + v * lanes * s.depth();
      read(first, count, to);
      std::fill(to + count * s.depth(), to + lanes * s.depth(), 0.0F);
    }
    interleave(rows, packed + panel * 2 * lanes * s.depth(), in_panel * lanes, s);
  };
  constexpr int64_t kElementsEach = 1 << 16;  // fewer are not worth a second thread
  const int64_t panel_size = 2 * lanes * s.depth();
  parallel_for((vectors + 1) / 2, std::max<int64_t>(1, kElementsEach / panel_size), [&](int64_t first, int64_t last) {
    const auto rows = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(panel_size));
    for (int64_t panel = first; panel < last; ++panel) pack_panel(panel, rows.get());
  });
}

void pack(const float* weight, float* packed, int64_t outputs, int64_t depth, bool gated) {
  const auto read = [&](int64_t first, int64_t count, float* to) {
    std::copy_n(weight + first * depth, count * depth, to);
  };
  pack(read, packed, {.outputs = outputs, .channels = depth}, gated);
}

ConvolutionTasks convolution_tasks(const ConvolutionShape& s) {
  constexpr int64_t kTasks = 32;               // enough to share out evenly among a desktop's cores
  constexpr int64_t kRowBytes = 256 << 10;     // of input a task reads again for every panel
  constexpr int64_t kWeightBytes = 512 << 10;  // of weight it reads again for every block of rows
  constexpr int64_t kBlocksEach = 4;
  const int64_t blocks = (s.rows() + kBlock - 1) / kBlock;
  const int64_t panels = (s.outputs + 2 * vector_lanes() - 1) / (2 * vector_lanes());
  const auto bytes = [](int64_t elements) { return elements * static_cast<int64_t>(sizeof(float)); };
  ConvolutionTasks tasks;
  const int64_t input = bytes(s.rows() * (s.channels[0] + s.channels[1]));
  tasks.row_tasks = std::clamp<int64_t>(blocks / kBlocksEach, 1, std::max(kTasks, input / kRowBytes));
  const int64_t for_cache = bytes(s.outputs * s.depth()) / kWeightBytes;
  const int64_t for_balance = tasks.row_tasks < kTasks / 2 ? kTasks / tasks.row_tasks : 1;
  tasks.column_tasks = std::clamp<int64_t>(std::max(for_cache, for_balance), 1, panels);
  return tasks;
}

void convolution_cpu(const std::array<const float*, 2>& x, const float* packed, float* out,
                     const ConvolutionShape& shape, const ConvolutionEnd& end, const ConvolutionTasks& tasks,
                     int64_t first, int64_t last) {
  const auto widest = static_cast<size_t>(std::max(shape.channels[0], shape.channels[1]));
  const ConvolutionCall call{x, packed, out, shape, end, std::vector<float>(widest, 0.0F)};
  HWY_DYNAMIC_DISPATCH(RunTasks)(call, tasks, first, last);
}

}  // namespace t2v::nn::kernels
#endif
