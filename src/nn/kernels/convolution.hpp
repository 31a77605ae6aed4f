// SPDX-License-Identifier: Apache-2.0
// Convolution of channels-last images as a matrix product whose left rows are gathered where they lie: no im2col, no
// copies for a concatenated or enlarged input, and bias, residual and GEGLU while the sums are still in registers. A
// linear layer is a 1 x 1 convolution of a line of pixels. fp32 on the CPU; ATen keeps everything else.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

namespace t2v::nn::kernels {

struct ConvolutionShape {
  int64_t images = 1, height = 1, width = 1;  // of the input
  /// Channels of the input's two parts, which lie in two buffers; the second may be absent.
  std::array<int64_t, 2> channels{0, 0};
  std::array<int64_t, 2> kernel{1, 1}, stride{1, 1}, padding{0, 0};
  int64_t out_height = 1, out_width = 1, outputs = 0;
  /// Of which parity of output pixels this call computes: -1 all; else the input counts as doubled in both directions
  /// by nearest neighbours, and parity 2 py + px makes the pixels (2y + py, 2x + px) from a 2 x 2 kernel of summed
  /// weights.
  int64_t parity = -1;

  int64_t rows() const { return images * out_height * out_width; }
  int64_t taps() const { return kernel[0] * kernel[1]; }
  int64_t depth() const { return taps() * (channels[0] + channels[1]); }
};

/// What happens to a sum before it is stored.
struct ConvolutionEnd {
  const float* bias = nullptr;      // [rows / rows_per_bias, outputs]
  int64_t rows_per_bias = 0;        // 0: one for all
  const float* residual = nullptr;  // laid out as the output, which it may be
  bool gated = false;               // outputs are [hidden, gate]; hidden * gelu(gate) is stored, half as wide
};

/// x: the input's parts; weight [outputs, taps, channels]; out [rows, outputs]. Plain loops; the meaning of the fast
/// form.
void convolution_reference(const std::array<const float*, 2>& x, const float* weight, float* out,
                           const ConvolutionShape& shape, const ConvolutionEnd& end);

/// Floats that the packed weight takes on this CPU.
int64_t packed_size(int64_t outputs, int64_t depth);
/// weight [outputs, depth] -> the order of convolution_cpu. gated needs outputs / 2 to be a multiple of vector_lanes().
void pack(const float* weight, float* packed, int64_t outputs, int64_t depth, bool gated);
int64_t vector_lanes();

struct StoredShape {
  int64_t outputs = 0, channels = 0, taps = 1;

  int64_t depth() const { return channels * taps; }
};
/// read(first, count, to) writes rows [first, first + count) of a weight [outputs, channels, taps] in fp32.
using RowReader = std::function<void(int64_t, int64_t, float*)>;
/// The same from a weight as files have it, which never is in memory as a whole. `read` is called from several threads.
void pack(const RowReader& read, float* packed, const StoredShape& shape, bool gated);

/// How a call is cut into tasks: rows first, then columns where the rows are few.
struct ConvolutionTasks {
  int64_t row_tasks = 1, column_tasks = 1;
  int64_t count() const { return row_tasks * column_tasks; }
};
ConvolutionTasks convolution_tasks(const ConvolutionShape& shape);

/// Tasks [first, last); safe to call from several threads for disjoint ranges.
void convolution_cpu(const std::array<const float*, 2>& x, const float* packed, float* out,
                     const ConvolutionShape& shape, const ConvolutionEnd& end, const ConvolutionTasks& tasks,
                     int64_t first, int64_t last);

}  // namespace t2v::nn::kernels
