// SPDX-License-Identifier: Apache-2.0
// The blocks of UNet3DConditionModel. diffusers 0.42 models/unets/unet_3d_blocks.py: DownBlock3D, UpBlock3D, their
// CrossAttn forms (the same with attention in every layer) and UNetMidBlock3DCrossAttn.
#pragma once

#include <cstdint>
#include <optional>

#include <ATen/core/Tensor.h>

#include "models/unet/body.hpp"
#include "nn/activation.hpp"
#include "nn/resnet.hpp"
#include "nn/temporal_conv.hpp"
#include "nn/transformer_2d.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::modelscope {

using at::Tensor;

/// What all blocks of one UNet share.
struct BlockOptions {
  int64_t temb_channels = 0;
  int64_t groups = 32;
  double eps = 1e-5;
  nn::Activation activation = nullptr;
  int64_t head_dim = 64;
  int64_t cross_attention_dim = 0;
  double output_scale_factor = 1.0;
};

using unet::Conditioning;

struct AttentionPair {
  AttentionPair(const Weights& block, int64_t index, int64_t channels, const BlockOptions& options);
  Tensor forward(const Tensor& x, const Conditioning& given) const;

  nn::Transformer2DModel spatial;         // attentions.{index}
  nn::TransformerTemporalModel temporal;  // temp_attentions.{index}
};

/// One layer: space, then time, for convolution and then for attention.
struct Layer {
  Layer(const Weights& block, int64_t index, int64_t in_channels, int64_t out_channels, bool has_attention,
        const BlockOptions& options);
  /// [B*F, C, H, W] -> [B*F, C', H, W]
  Tensor forward(const Tensor& x, const Conditioning& given, const std::optional<Tensor>& beside = {}) const;

  nn::ResnetBlock2D resnet;         // resnets.{index}
  nn::TemporalConvLayer temp_conv;  // temp_convs.{index}
  std::optional<AttentionPair> attention;
};

using DownBlock3D = unet::DownBlock<Layer>;

struct MidBlock3D {
  MidBlock3D(const Weights& w, int64_t channels, const BlockOptions& shared);
  Tensor forward(const Tensor& x, const Conditioning& given) const;

  Layer first;
  AttentionPair attention;
  Layer second;
};

using UpBlock3D = unet::UpBlock<Layer>;

}  // namespace t2v::models::modelscope
