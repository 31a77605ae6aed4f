// SPDX-License-Identifier: Apache-2.0
// The plug-in's kernels as layers call them. Before its first use each is compared with ATen on the device itself: one
// that differs there, or fails, is left out with a warning, and ATen computes instead.
#pragma once

#include <set>

#include "engine/cuda_plugin_api.hpp"
#include "tensor/device_kernels.hpp"
#include "tensor/placement.hpp"

namespace t2v::engine {

class CudaKernels final : public DeviceKernels {
 public:
  using Types = std::set<c10::ScalarType>;
  /// `api` must outlive it. Tries every kernel once in each of `types` on `device`; in others it takes no tensors.
  CudaKernels(const cuda::PluginApi& api, c10::Device device, Types types = {c10::kFloat, c10::kHalf, c10::kBFloat16});

  c10::Device device() const override { return device_; }
  const Types& types() const { return types_; }
  std::optional<at::Tensor> group_norm(const at::Tensor& x, const GroupNorm& norm) const override;
  std::optional<at::Tensor> frame_attention(const at::Tensor& qkv, int64_t heads) const override;
  bool add_biased(at::Tensor& sum, const at::Tensor& x, const at::Tensor& bias, double share) const override;
  std::optional<at::Tensor> geglu(const at::Tensor& x) const override;
  std::optional<at::Tensor> layer_norm(const at::Tensor& x, const LayerNorm& norm) const override;
  std::optional<Rgb8> frames_to_rgb8(const at::Tensor& frames) const override;
  std::optional<Yuv420> frames_to_yuv420(const at::Tensor& frames) const override;

 private:
  bool takes(const at::Tensor& x) const;

  const cuda::PluginApi& api_;
  c10::Device device_;
  Types types_;
  bool has_group_norm_ = true, has_frame_attention_ = true, has_geglu_ = true, has_add_biased_ = true,
       has_layer_norm_ = true, has_rgb8_ = true, has_yuv420_ = true;
};

/// Gives the layers the plug-in's kernels for networks placed there, proven in their dtype, and in fp32, in which
/// calls are repeated whose numbers that can't hold. What is proven stays so for other placements on that device.
void use_cuda_kernels(const Placement& placement);

}  // namespace t2v::engine
