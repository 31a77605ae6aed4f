// SPDX-License-Identifier: Apache-2.0
// The plug-in's kernels as layers call them. Before its first use each is compared with ATen on the device itself: one
// that differs there, or fails, is left out with a warning, and ATen computes instead.
#pragma once

#include "engine/cuda_plugin_api.hpp"
#include "tensor/device_kernels.hpp"

namespace t2v::engine {

class CudaKernels final : public DeviceKernels {
 public:
  /// `api` must outlive it. Tries every kernel once in fp32, fp16 and bf16 on `device`.
  CudaKernels(const cuda::PluginApi& api, c10::Device device);

  c10::Device device() const override { return device_; }
  std::optional<at::Tensor> group_norm(const at::Tensor& x, const GroupNorm& norm) const override;
  std::optional<at::Tensor> frame_attention(const at::Tensor& qkv, int64_t heads) const override;
  std::optional<at::Tensor> geglu(const at::Tensor& x) const override;
  std::optional<Rgb8> frames_to_rgb8(const at::Tensor& frames) const override;
  std::optional<Yuv420> frames_to_yuv420(const at::Tensor& frames) const override;

 private:
  bool takes(const at::Tensor& x) const;

  const cuda::PluginApi& api_;
  c10::Device device_;
  bool has_group_norm_ = true, has_frame_attention_ = true, has_geglu_ = true, has_rgb8_ = true, has_yuv420_ = true;
};

/// Gives the layers the plug-in's kernels for `device`, proven, the first time it is asked for.
void use_cuda_kernels(c10::Device device);

}  // namespace t2v::engine
