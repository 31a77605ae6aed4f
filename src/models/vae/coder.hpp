// SPDX-License-Identifier: Apache-2.0
// The two halves of an image autoencoder. diffusers 0.42 models/autoencoders/vae.py Encoder and Decoder, with the
// blocks DownEncoderBlock2D, UpDecoderBlock2D and UNetMidBlock2D of models/unets/unet_2d_blocks.py.
#pragma once

#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/vae/config.hpp"
#include "nn/conv.hpp"
#include "nn/norm.hpp"
#include "nn/resample.hpp"
#include "nn/resnet.hpp"
#include "nn/transformer_block.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::vae {

using at::Tensor;

/// Attention over the pixels of an image, one head over all channels, with its norm and residual inside.
struct PixelAttention {
  PixelAttention(const Weights& w, int64_t channels, int64_t groups);
  Tensor forward(const Tensor& x) const;  // [N, C, H, W], same shape out

  nn::GroupNorm group_norm;
  nn::SelfAttention attention;
};

struct MidBlock2D {
  MidBlock2D(const Weights& w, const AutoencoderKLConfig& config);
  Tensor forward(const Tensor& x) const;

  nn::ResnetBlock2D first;
  std::optional<PixelAttention> attention;
  nn::ResnetBlock2D second;
};

struct Encoder {
  Encoder(const Weights& w, const AutoencoderKLConfig& config);
  Tensor forward(const Tensor& images) const;  // [N, 3, H, W] -> [N, 2 C, h, w]

  struct DownBlock {
    std::vector<nn::ResnetBlock2D> resnets;
    std::optional<nn::Downsample2D> downsampler;
  };
  nn::Conv2d conv_in;
  std::vector<DownBlock> down_blocks;
  MidBlock2D mid_block;
  nn::GroupNorm conv_norm_out;
  nn::Conv2d conv_out;
};

struct Decoder {
  Decoder(const Weights& w, const AutoencoderKLConfig& config);
  Tensor forward(const Tensor& latents) const;  // [N, C, h, w] -> [N, 3, H, W]

  struct UpBlock {
    std::vector<nn::ResnetBlock2D> resnets;
    std::optional<nn::Upsample2D> upsampler;
  };
  nn::Conv2d conv_in;
  MidBlock2D mid_block;
  std::vector<UpBlock> up_blocks;
  nn::GroupNorm conv_norm_out;
  nn::Conv2d conv_out;
};

}  // namespace t2v::models::vae
