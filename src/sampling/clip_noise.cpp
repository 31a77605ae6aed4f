// SPDX-License-Identifier: Apache-2.0
#include "sampling/clip_noise.hpp"

#include <algorithm>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/index_select.h>

#include "core/check.hpp"
#include "tensor/operators.hpp"

namespace t2v::sampling {
namespace {

/// Frames i .. i + stride become a shuffle of the frames one window earlier, chunk after chunk.
void reschedule(at::Tensor& noise, int64_t frame_dim, int64_t window, int64_t stride, Rng& rng) {
  const int64_t frames = noise.size(frame_dim);
  for (int64_t i = window; i < frames; i += stride) {
    const int64_t taken = std::min(stride, frames - i);
    // The permutation is always a whole chunk's; a clip that ends sooner uses its beginning.
    const at::Tensor order = rng.permutation(stride).narrow(0, 0, taken).to(noise.device());
    noise.narrow(frame_dim, i, taken).copy_(noise.index_select(frame_dim, order + (i - window)));
  }
}

}  // namespace

at::Tensor draw_clip_noise(const ClipNoiseOptions& options, at::IntArrayRef shape, int64_t frame_dim,
                           c10::ScalarType dtype, c10::Device device, Rng& rng) {
  const int64_t frames = shape[static_cast<size_t>(frame_dim)];
  if (options.kind == ClipNoise::random || frames <= options.window) return rng.normal(shape, dtype, device);
  T2V_CHECK(options.window > 0 && options.stride > 0 && options.stride <= options.window,
            "noise is rescheduled within a window");
  if (options.kind == ClipNoise::freenoise) {
    at::Tensor noise = rng.normal(shape, dtype, device);
    reschedule(noise, frame_dim, options.window, options.stride, rng);
    return noise;
  }
  std::vector<int64_t> one(shape.begin(), shape.end());
  one[static_cast<size_t>(frame_dim)] = options.window;
  const at::Tensor numbers = at::arange(frames, at::TensorOptions().dtype(c10::kLong).device(device));
  return rng.normal(one, dtype, device).index_select(frame_dim, numbers.remainder(options.window));
}

}  // namespace t2v::sampling
