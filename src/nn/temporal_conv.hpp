// SPDX-License-Identifier: Apache-2.0
// Convolution along time, the temporal half of a ModelScope layer (Wang et al. 2023, arXiv 2308.06571, section 3.2).
// diffusers 0.42 models/resnet.py TemporalConvLayer.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/conv.hpp"
#include "nn/norm.hpp"
#include "tensor/weights.hpp"

namespace t2v::nn {

struct TemporalConvLayer {
  TemporalConvLayer(const Weights& w, int64_t channels, int64_t groups);
  Tensor forward(const Tensor& x, int64_t frames) const;  // [B*F, C, H, W], same shape out

  struct Step {
    GroupNorm norm;  // statistics over all frames
    Conv2d conv;     // the (3,1,1) kernel over [B, C, F, H*W]
  };
  std::vector<Step> steps;  // conv1 ... conv4
};

}  // namespace t2v::nn
