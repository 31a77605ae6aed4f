// SPDX-License-Identifier: Apache-2.0
// The 3-D UNet of ModelScopeT2V (Wang et al. 2023, arXiv 2308.06571): a Stable Diffusion UNet with a temporal
// convolution after every residual block and a temporal transformer after every spatial one.
// diffusers 0.42 models/unets/unet_3d_condition.py UNet3DConditionModel. Calls of forward() may run at the same time.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/modelscope/config.hpp"
#include "models/modelscope/unet3d_blocks.hpp"
#include "models/unet/call_options.hpp"
#include "nn/conv.hpp"
#include "nn/norm.hpp"
#include "nn/time_embedding.hpp"
#include "nn/transformer_2d.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::modelscope {

class UNet3DConditionModel {
 public:
  UNet3DConditionModel(const UNet3DConfig& config, const Weights& w);

  /// sample [B, C, F, H, W], one timestep for each of B, encoder_hidden_states [B, L, D] or [B*F, L, D], timestep_cond
  /// [B, time_cond_proj_dim] where the model takes one and the caller has one -> [B, C', F, H, W]. Any F >= 1, any
  /// H and W >= 1. All tensors placed like the weights.
  Tensor forward(const Tensor& sample, std::span<const double> timesteps, const Tensor& encoder_hidden_states,
                 const std::optional<Tensor>& timestep_cond = {}, const unet::CallOptions& call = {}) const;
  /// The same timestep for the whole batch.
  Tensor forward(const Tensor& sample, double timestep, const Tensor& encoder_hidden_states,
                 const unet::CallOptions& call = {}) const;

  /// What forward() makes of the timesteps: [B, T].
  Tensor embed_time(std::span<const double> timesteps, const std::optional<Tensor>& timestep_cond = {}) const;
  /// forward() with the timesteps embedded.
  Tensor forward(const Tensor& sample, const Tensor& time, const Tensor& encoder_hidden_states,
                 const unet::CallOptions& call = {}) const;

  const UNet3DConfig& config() const { return config_; }

 private:
  Tensor denoise(const Tensor& sample, const Conditioning& given, unet::DeepFeature* deep) const;

  UNet3DConfig config_;
  nn::Conv2d conv_in_;
  nn::TimestepEmbedding time_embedding_;
  nn::TransformerTemporalModel transformer_in_;
  std::vector<DownBlock3D> down_blocks_;
  MidBlock3D mid_block_;
  std::vector<UpBlock3D> up_blocks_;
  nn::GroupNorm conv_norm_out_;
  nn::Conv2d conv_out_;
};

}  // namespace t2v::models::modelscope
