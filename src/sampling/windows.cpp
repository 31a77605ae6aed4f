// SPDX-License-Identifier: Apache-2.0
#include "sampling/windows.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "core/check.hpp"
#include "tensor/operators.hpp"

namespace t2v::sampling {
namespace {

using Window = std::vector<int64_t>;

/// The bits of `step` behind the binary point in reverse (0, 1/2, 1/4, 3/4, 1/8, ..): fractions
/// that fill [0, 1) evenly however many steps there are.
double bit_reversed(int64_t step) {
  double fraction = 0, bit = 0.5;
  for (auto rest = static_cast<uint64_t>(step); rest != 0; rest >>= 1, bit /= 2) {
    if (rest & 1) fraction += bit;
  }
  return fraction;
}

Window window_from(int64_t start, int64_t size, int64_t stride, int64_t frames) {
  Window window(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) window[static_cast<size_t>(i)] = (start + i * stride) % frames;
  return window;
}

/// Around the circle. A stride whose window would meet itself is left out.
std::vector<Window> looped_windows(const WindowOptions& o, int64_t size, int64_t step) {
  std::vector<Window> windows;
  const double fraction = bit_reversed(step);
  const auto turn = static_cast<int64_t>(std::nearbyint(static_cast<double>(o.frames) * fraction));
  for (int64_t level = 0; level < o.strides && (size << level) <= o.frames; ++level) {
    const int64_t stride = int64_t{1} << level;
    const int64_t first = static_cast<int64_t>(fraction * static_cast<double>(stride)) + turn;
    for (int64_t j = first; j < o.frames + turn; j += size * stride - o.overlap) {
      windows.push_back(window_from(j, size, stride, o.frames));
    }
  }
  return windows;
}

std::vector<Window> open_windows(const WindowOptions& o, int64_t step) {
  std::vector<Window> windows;
  for (int64_t level = 0; level < o.strides; ++level) {
    const int64_t stride = int64_t{1} << level;
    const int64_t last = o.frames - ((o.size - 1) * stride + 1);  // where the last window begins
    if (last < 0) break;
    const int64_t distance = o.size * stride - o.overlap;
    const auto shift = static_cast<int64_t>(bit_reversed(step) * static_cast<double>(distance));
    int64_t previous = -1;
    for (int64_t j = shift - distance; previous < last; j += distance) {
      const int64_t start = std::clamp<int64_t>(j, 0, last);
      if (start == previous) continue;
      windows.push_back(window_from(start, o.size, stride, o.frames));
      previous = start;
    }
  }
  return windows;
}

at::Tensor index_tensor(const Window& window, const at::Tensor& like) {
  return at::tensor(at::IntArrayRef(window), at::TensorOptions().dtype(c10::kLong)).to(like.device());
}

/// A vector [n] as [.., n, ..], broadcast against tensors of `dims` axes.
at::Tensor along(const at::Tensor& vector, int64_t dim, int64_t dims) {
  std::vector<int64_t> shape(static_cast<size_t>(dims), 1);
  shape[static_cast<size_t>(dim)] = vector.size(0);
  return vector.view(shape);
}

}  // namespace

at::Tensor frames_of(const at::Tensor& per_frame, int64_t frame_dim, const StepContext& step) {
  if (step.frames.empty()) return per_frame;
  const Window window(step.frames.begin(), step.frames.end());
  return per_frame.index_select(frame_dim, index_tensor(window, per_frame));
}

std::vector<std::vector<int64_t>> windows_at(const WindowOptions& options, int64_t step) {
  if (!options.active()) {
    Window all(static_cast<size_t>(options.frames));
    std::iota(all.begin(), all.end(), 0);
    return {all};
  }
  T2V_CHECK(options.overlap >= 0 && options.overlap < options.frames_at_once(),
            "windows overlap by less than their size");
  return options.loop ? looped_windows(options, options.frames_at_once(), step) : open_windows(options, step);
}

std::vector<float> blend_weights(Blend blend, int64_t size) {
  std::vector<float> weights(static_cast<size_t>(size), 1.0F);
  if (blend == Blend::flat) return weights;
  for (int64_t i = 0; i < size; ++i) {
    weights[static_cast<size_t>(i)] = static_cast<float>(std::min(i, size - 1 - i) + 1);
  }
  return weights;
}

WindowedDenoiser::WindowedDenoiser(Denoiser& inner, const WindowOptions& options, int64_t frame_dim,
                                   std::function<void()> before_window)
    : inner_(inner), options_(options), frame_dim_(frame_dim), before_window_(std::move(before_window)) {}

at::Tensor WindowedDenoiser::predict(const at::Tensor& x, const StepContext& step) {
  if (!options_.active()) return inner_.predict(x, step);
  T2V_CHECK(x.size(frame_dim_) == options_.frames, "the state holds the frames of the clip");
  const auto floats = at::TensorOptions().dtype(c10::kFloat).device(x.device());
  const at::Tensor weights =
      at::tensor(blend_weights(options_.blend, options_.frames_at_once()), floats.device(c10::kCPU)).to(x.device());
  const at::Tensor weight = along(weights, frame_dim_, x.dim());
  at::Tensor sum = at::zeros(x.sizes(), floats);
  at::Tensor total = at::zeros({options_.frames}, floats);
  c10::ScalarType dtype = x.scalar_type();
  for (const Window& window : windows_at(options_, step.index)) {
    if (before_window_) before_window_();
    StepContext part = step;
    part.frames = window;
    const at::Tensor index = index_tensor(window, x);
    const at::Tensor prediction = inner_.predict(x.index_select(frame_dim_, index), part);
    dtype = prediction.scalar_type();
    sum.index_add_(frame_dim_, index, prediction.to(c10::kFloat) * weight);
    total.index_add_(0, index, weights);
  }
  return (sum / along(total, frame_dim_, x.dim())).to(dtype);
}

}  // namespace t2v::sampling
