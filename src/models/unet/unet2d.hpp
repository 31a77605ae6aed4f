// SPDX-License-Identifier: Apache-2.0
// The UNet of Stable Diffusion (Rombach et al. 2022, arXiv 2112.10752), and the same with AnimateDiff's motion modules
// (Guo et al. 2023, arXiv 2307.04725) after every layer. diffusers 0.42 models/unets/unet_2d_condition.py
// UNet2DConditionModel, unet_motion_model.py UNetMotionModel. Calls of forward() may run at the same time.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/unet/body.hpp"
#include "models/unet/call_options.hpp"
#include "models/unet/config.hpp"
#include "nn/activation.hpp"
#include "nn/conv.hpp"
#include "nn/norm.hpp"
#include "nn/resnet.hpp"
#include "nn/time_embedding.hpp"
#include "nn/transformer_2d.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::unet {

/// One layer: convolution and attention within frames, then attention along frames where there are motion modules.
struct ImageLayer {
  /// [B*F, C, H, W] -> [B*F, C', H, W]
  Tensor forward(const Tensor& x, const Conditioning& given, const std::optional<Tensor>& beside = {}) const;

  nn::ResnetBlock2D resnet;                            // resnets.{index}
  std::optional<nn::Transformer2DModel> attention;     // attentions.{index}
  std::optional<nn::TransformerTemporalModel> motion;  // motion_modules.{index}
};

struct ImageMiddle {
  Tensor forward(const Tensor& x, const Conditioning& given) const;

  ImageLayer first;
  nn::ResnetBlock2D second;
};

class UNet2DConditionModel {
 public:
  /// `motion_weights`: where motion modules are kept. In a UNetMotionModel's own file they lie between the other
  /// weights; a motion adapter is a file of its own.
  UNet2DConditionModel(const UNet2DConfig& config, const Weights& w, const Weights& motion_weights);
  UNet2DConditionModel(const UNet2DConfig& config, const Weights& w) : UNet2DConditionModel(config, w, w) {}

  /// sample [B, C, F, H, W], one timestep for each of B, encoder_hidden_states [B, L, D] or one for each frame
  /// [B*F, L, D], timestep_cond [B, time_cond_proj_dim] where the model takes one and the caller has one
  /// -> [B, C', F, H, W]. Any H and W >= 1; F at most motion->max_frames where there are motion modules. All tensors
  /// placed like the weights.
  Tensor forward(const Tensor& sample, std::span<const double> timesteps, const Tensor& encoder_hidden_states,
                 const std::optional<Tensor>& timestep_cond = {}, const CallOptions& call = {}) const;
  /// The same timestep for the whole batch.
  Tensor forward(const Tensor& sample, double timestep, const Tensor& encoder_hidden_states,
                 const std::optional<Tensor>& timestep_cond = {}, const CallOptions& call = {}) const;

  /// What forward() makes of the timesteps: [B, T].
  Tensor embed_time(std::span<const double> timesteps, const std::optional<Tensor>& timestep_cond = {}) const;
  /// forward() with the timesteps embedded.
  Tensor forward(const Tensor& sample, const Tensor& time, const Tensor& encoder_hidden_states,
                 const CallOptions& call = {}) const;

  const UNet2DConfig& config() const { return config_; }

 private:
  Tensor denoise(const Tensor& sample, const Conditioning& given, DeepFeature* deep) const;

  UNet2DConfig config_;
  nn::Conv2d conv_in_;
  nn::TimestepEmbedding time_embedding_;
  std::vector<DownBlock<ImageLayer>> down_blocks_;
  ImageMiddle mid_block_;
  std::vector<UpBlock<ImageLayer>> up_blocks_;
  nn::GroupNorm conv_norm_out_;
  nn::Conv2d conv_out_;
  nn::Activation out_activation_;
};

}  // namespace t2v::models::unet
