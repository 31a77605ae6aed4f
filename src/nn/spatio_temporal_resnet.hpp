// SPDX-License-Identifier: Apache-2.0
// Residual block over space, then over time, in a learned proportion: the layer of Stable Video Diffusion (Blattmann et
// al. 2023, arXiv 2311.15127). diffusers 0.42 models/resnet.py SpatioTemporalResBlock, TemporalResnetBlock,
// AlphaBlender.
#pragma once

#include <cstdint>
#include <optional>

#include <ATen/core/Tensor.h>

#include "nn/conv.hpp"
#include "nn/linear.hpp"
#include "nn/norm.hpp"
#include "nn/resnet.hpp"
#include "tensor/weights.hpp"

namespace t2v::nn {

/// The learned number of an AlphaBlender: sigmoid(mix_factor), the share of its first input. One half where the weights
/// have no data (the memory probe).
double mix_share(const Weights& time_mixer);

/// Residual block with convolutions along time: no change of width, SiLU.
struct TemporalResnetBlock {
  struct Options {
    int64_t channels = 0;
    std::optional<int64_t> temb_channels = {};
    int64_t groups = 32;
    double eps = 0;
  };
  TemporalResnetBlock(const Weights& w, const Options& options);
  /// What the block adds to x [B*F, C, H, W], of the same shape; temb [B, T].
  Tensor residual(const Tensor& x, const std::optional<Tensor>& temb, int64_t frames) const;

  GroupNorm norm1;  // statistics over all frames
  Conv2d conv1;     // the (3,1,1) kernel over [B, C, F, H*W]
  std::optional<Linear> time_emb_proj;
  GroupNorm norm2;
  Conv2d conv2;
};

struct SpatioTemporalResnetOptions {
  ResnetOptions spatial;
  double temporal_eps = 0;
  bool switches_mix = false;  // mix_factor gives the temporal share (the VAE), not the spatial one (the UNet)
};

struct SpatioTemporalResBlock {
  SpatioTemporalResBlock(const Weights& w, const SpatioTemporalResnetOptions& options);
  /// x [B*F, C, H, W], temb [B, T] where the block has time -> [B*F, C', H, W]; beside: as in ResnetBlock2D
  Tensor forward(const Tensor& x, const std::optional<Tensor>& temb, int64_t frames,
                 const std::optional<Tensor>& beside = {}) const;

  ResnetBlock2D spatial;         // spatial_res_block
  TemporalResnetBlock temporal;  // temporal_res_block
  double temporal_share;         // of the blend a * spatial + (1 - a) * (spatial + residual)
};

}  // namespace t2v::nn
