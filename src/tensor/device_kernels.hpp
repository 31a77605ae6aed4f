// SPDX-License-Identifier: Apache-2.0
// Kernels of ours for tensors that are not on the CPU. Layers ask here and take ATen's operators where there is none.
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

namespace t2v {

/// Each function gives nothing for what it does not take (a shape, a dtype, a device), and then ATen computes.
class DeviceKernels {
 public:
  struct GroupNorm {
    const at::Tensor &weight, &bias;  // [C]
    int64_t groups;
    double eps;
    bool silu;
    std::optional<at::Tensor> shift = {};  // [B, C], added first to all N / B images of each of B videos
  };
  struct LayerNorm {
    const at::Tensor &weight, &bias;  // [W]
    double eps;
    std::optional<at::Tensor> offset = {};     // [W], added to x first
    std::optional<at::Tensor> positions = {};  // [F, 1, W], added last to all P rows of a frame; x is [.., F, P, W]
  };
  struct Rgb8 {
    at::Tensor rgb;         // [F, H, W, 3] uint8, on the device
    at::Tensor not_finite;  // [1] int32: nonzero where a pixel was NaN or Inf
  };

  struct Yuv420 {
    at::Tensor planes;      // uint8 on the device: y [F, H, W], then u and v [F, H/2, W/2], one after another
    at::Tensor not_finite;  // as in Rgb8
  };

  virtual ~DeviceKernels() = default;
  virtual c10::Device device() const = 0;
  /// x [N, C, H, W] -> the same, channels-last.
  virtual std::optional<at::Tensor> group_norm(const at::Tensor& x, const GroupNorm& norm) const = 0;
  /// qkv [B, F, P, 3*N*D] -> [B, F, P, N*D], softmax over F.
  virtual std::optional<at::Tensor> frame_attention(const at::Tensor& qkv, int64_t heads) const = 0;
  /// sum += share * (x + bias): both [N, C, H, W], channels-last, bias [C]. False for what it does not take.
  virtual bool add_biased(at::Tensor& sum, const at::Tensor& x, const at::Tensor& bias, double share) const = 0;
  /// x [.., 2*W] -> [.., W]: the first half times gelu of the second.
  virtual std::optional<at::Tensor> geglu(const at::Tensor& x) const = 0;
  /// x [.., W] -> the same.
  virtual std::optional<at::Tensor> layer_norm(const at::Tensor& x, const LayerNorm& norm) const = 0;
  /// frames [F, 3, H, W] in [-1, 1], any strides: see engine/frames.hpp.
  virtual std::optional<Rgb8> frames_to_rgb8(const at::Tensor& frames) const = 0;
  /// The same frames, H and W even, as BT.709 planes: the bytes that media/color.hpp makes of that RGB.
  virtual std::optional<Yuv420> frames_to_yuv420(const at::Tensor& frames) const = 0;
};

/// What set_device_kernels() gave last; null at first. Set before networks run, not beside them.
const DeviceKernels* device_kernels();
void set_device_kernels(const DeviceKernels* kernels);

/// Those for this tensor: null for one on another device than theirs.
inline const DeviceKernels* device_kernels_for(const at::Tensor& x) {
  const DeviceKernels* kernels = device_kernels();
  return kernels != nullptr && kernels->device() == x.device() ? kernels : nullptr;
}

}  // namespace t2v
