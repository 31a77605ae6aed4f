// SPDX-License-Identifier: Apache-2.0
// Residual block of the image UNets and the VAE. diffusers 0.42 models/resnet.py ResnetBlock2D, as those families
// configure it: no resampling inside, the time embedding added after the first convolution.
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

#include "nn/activation.hpp"
#include "nn/conv.hpp"
#include "nn/linear.hpp"
#include "nn/norm.hpp"
#include "tensor/weights.hpp"

namespace t2v::nn {

struct ResnetOptions {
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  std::optional<int64_t> temb_channels = {};  // none: a block without time (the VAE)
  int64_t groups = 32;
  double eps = 0;  // 1e-5 in UNets (norm_eps), 1e-6 in the VAE
  Activation activation = nullptr;
  double output_scale_factor = 1.0;
};

struct ResnetBlock2D {
  ResnetBlock2D(const Weights& w, const ResnetOptions& options);
  /// x [B*F, C, H, W]; temb [B, T] is shared by the F frames of a video, or [B*F, T]; beside: more channels of the
  /// input, as if concatenated. -> [B*F, C', H, W]
  Tensor forward(const Tensor& x, const std::optional<Tensor>& temb = {},
                 const std::optional<Tensor>& beside = {}) const;

  GroupNorm norm1;
  Conv2d conv1;
  std::optional<Linear> time_emb_proj;
  GroupNorm norm2;
  Conv2d conv2;
  std::optional<Conv2d> conv_shortcut;
  Activation activation;
  double output_scale_factor;
};

}  // namespace t2v::nn
