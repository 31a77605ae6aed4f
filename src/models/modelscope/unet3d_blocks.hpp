// SPDX-License-Identifier: Apache-2.0
// The blocks of UNet3DConditionModel. diffusers 0.42 models/unets/unet_3d_blocks.py: DownBlock3D, UpBlock3D, their
// CrossAttn forms (the same with attention in every layer) and UNetMidBlock3DCrossAttn.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/activation.hpp"
#include "nn/resample.hpp"
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

/// What every layer gets beside the activation.
struct Conditioning {
  Tensor temb;  // [B, T]
  Tensor text;  // [B, L, D]
  int64_t frames = 0;
};

struct AttentionPair {
  AttentionPair(const Weights& block, int64_t index, int64_t channels, const BlockOptions& options);
  Tensor forward(const Tensor& x, const Conditioning& given) const;

  nn::Transformer2DModel spatial;     // attentions.{index}
  nn::TransformerTemporalModel temporal;  // temp_attentions.{index}
};

/// One layer: space, then time, for convolution and then for attention.
struct Layer {
  Layer(const Weights& block, int64_t index, int64_t in_channels, int64_t out_channels, bool has_attention,
        const BlockOptions& options);
  Tensor forward(const Tensor& x, const Conditioning& given) const;  // [B*F, C, H, W] -> [B*F, C', H, W]

  nn::ResnetBlock2D resnet;         // resnets.{index}
  nn::TemporalConvLayer temp_conv;  // temp_convs.{index}
  std::optional<AttentionPair> attention;
};

struct DownBlock3D {
  struct Options {
    int64_t in_channels = 0;
    int64_t out_channels = 0;
    int64_t layers = 0;
    bool has_attention = false;
    std::optional<int64_t> downsample_padding = {};  // none: the last block, which keeps its size
  };
  DownBlock3D(const Weights& w, const Options& options, const BlockOptions& shared);
  /// Appends the output of every layer, and of the downsampler, to `skips`.
  Tensor forward(Tensor x, const Conditioning& given, std::vector<Tensor>& skips) const;

  std::vector<Layer> layers;
  std::optional<nn::Downsample2D> downsampler;
};

struct MidBlock3D {
  MidBlock3D(const Weights& w, int64_t channels, const BlockOptions& shared);
  Tensor forward(const Tensor& x, const Conditioning& given) const;

  Layer first;
  AttentionPair attention;
  Layer second;
};

struct UpBlock3D {
  struct Options {
    int64_t in_channels = 0;       // of the block before on the way down: the last skip's
    int64_t prev_channels = 0;     // of the activation that arrives
    int64_t out_channels = 0;
    int64_t layers = 0;
    bool has_attention = false;
    bool upsamples = false;
  };
  UpBlock3D(const Weights& w, const Options& options, const BlockOptions& shared);
  /// Takes one skip a layer from the end of `skips`. match_next_skip: upsample to the size of the skip that comes
  /// next, which is not always twice as large.
  Tensor forward(Tensor x, const Conditioning& given, std::vector<Tensor>& skips, bool match_next_skip) const;

  std::vector<Layer> layers;
  std::optional<nn::Upsample2D> upsampler;
};

}  // namespace t2v::models::modelscope
