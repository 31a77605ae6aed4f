// SPDX-License-Identifier: Apache-2.0
#include "engine/frames.hpp"

#include <cstring>
#include <string>

#include <ATen/ops/empty.h>

#include "engine/finite.hpp"
#include "tensor/device_kernels.hpp"
#include "tensor/operators.hpp"

namespace t2v::engine {

namespace {

/// A device writes to pinned memory without a detour.
at::Tensor on_host(const at::Tensor& x) {
  if (!x.is_cuda()) return x;
  return at::empty(x.sizes(), at::TensorOptions().dtype(x.scalar_type()).pinned_memory(true)).copy_(x);
}

}  // namespace

at::Tensor rgb8_of(const at::Tensor& frames) {
  const at::Tensor unit = (frames.to(c10::kFloat) * 0.5 + 0.5).clamp(0, 1);  // [F, 3, H, W]
  return (unit * 255).round().to(c10::kByte).permute({0, 2, 3, 1}).contiguous();
}

at::Tensor frames_to_rgb8(const at::Tensor& frames, int64_t first_frame) {
  const std::string stage =
      "decode: frames " + std::to_string(first_frame) + " to " + std::to_string(first_frame + frames.size(0) - 1);
  if (const auto* device = device_kernels_for(frames)) {
    if (const auto made = device->frames_to_rgb8(frames)) {
      if (made->not_finite.item<int>() != 0) throw_not_finite(stage, frames.scalar_type(), /*was_retried=*/false);
      return on_host(made->rgb);
    }
  }
  require_finite(frames, stage);
  return on_host(rgb8_of(frames));
}

at::Tensor rgb8_to_frame(std::span<const uint8_t> rgb, int64_t height, int64_t width) {
  at::Tensor bytes = at::empty({height, width, 3}, at::TensorOptions().dtype(c10::kByte));
  std::memcpy(bytes.mutable_data_ptr<uint8_t>(), rgb.data(), rgb.size());
  return (bytes.permute({2, 0, 1}).to(c10::kFloat) / 255.0) * 2.0 - 1.0;
}

}  // namespace t2v::engine
