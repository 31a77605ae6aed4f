// SPDX-License-Identifier: Apache-2.0
// The UNet of Stable Video Diffusion (Blattmann et al. 2023, arXiv 2311.15127): every layer works over space, then over
// time, in a learned proportion. diffusers 0.42 models/unets/unet_spatio_temporal_condition.py
// UNetSpatioTemporalConditionModel and the SpatioTemporal blocks of unet_3d_blocks.py. Calls of forward() may run at
// the same time.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/svd/config.hpp"
#include "models/svd/layers.hpp"
#include "models/unet/body.hpp"
#include "models/unet/call_options.hpp"
#include "nn/conv.hpp"
#include "nn/norm.hpp"
#include "nn/spatio_temporal_resnet.hpp"
#include "nn/time_embedding.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::svd {

/// What all layers of one block share.
struct BlockOptions {
  int64_t temb_channels = 0;
  double eps = 1e-5;
  std::optional<TransformerSpatioTemporalModel::Options> attention = {};
};

/// What every layer gets beside the activation.
struct Conditioning {
  Tensor temb;   // [B, T]
  Tensor token;  // [B, 1, Dc]
  int64_t frames = 0;
};

struct Layer {
  Layer(const Weights& block, int64_t index, int64_t in_channels, int64_t out_channels, const BlockOptions& options);
  /// [B*F, C, H, W] -> [B*F, C', H, W]
  Tensor forward(const Tensor& x, const Conditioning& given, const std::optional<Tensor>& beside = {}) const;

  nn::SpatioTemporalResBlock resnet;                        // resnets.{index}
  std::optional<TransformerSpatioTemporalModel> attention;  // attentions.{index}
};

using DownBlock = unet::DownBlock<Layer>;
using UpBlock = unet::UpBlock<Layer>;

struct MidBlock {
  MidBlock(const Weights& w, int64_t channels, const BlockOptions& options);
  Tensor forward(const Tensor& x, const Conditioning& given) const;

  Layer first;                               // resnets.0
  TransformerSpatioTemporalModel attention;  // attentions.0
  Layer second;                              // resnets.1
};

class UNetSpatioTemporalConditionModel {
 public:
  UNetSpatioTemporalConditionModel(const UNetSpatioTemporalConfig& config, const Weights& w);

  /// sample [B, F, C, H, W]; one timestep; image token [B, 1, D]; added_time_ids [B][added_ids()], row by row
  /// -> [B, F, C', H, W]. Any F, H, W >= 1. All tensors placed like the weights.
  Tensor forward(const Tensor& sample, double timestep, const Tensor& encoder_hidden_states,
                 std::span<const double> added_time_ids, const unet::CallOptions& call = {}) const;

  /// What forward() makes of the timestep and the ids: [B, T].
  Tensor embed(double timestep, std::span<const double> added_time_ids) const;
  /// forward() with both embedded.
  Tensor forward(const Tensor& sample, const Tensor& time, const Tensor& encoder_hidden_states,
                 const unet::CallOptions& call = {}) const;

  const UNetSpatioTemporalConfig& config() const { return config_; }
  int64_t folded_elements() const;  ///< parameters of the file that folding at load leaves out of memory

 private:
  Tensor denoise(const Tensor& sample, const Conditioning& given, unet::DeepFeature* deep) const;

  UNetSpatioTemporalConfig config_;
  nn::Conv2d conv_in_;
  nn::TimestepEmbedding time_embedding_;
  nn::TimestepEmbedding add_embedding_;
  std::vector<DownBlock> down_blocks_;
  MidBlock mid_block_;
  std::vector<UpBlock> up_blocks_;
  nn::GroupNorm conv_norm_out_;
  nn::Conv2d conv_out_;
};

}  // namespace t2v::models::svd
