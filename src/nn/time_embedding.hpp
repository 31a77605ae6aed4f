// SPDX-License-Identifier: Apache-2.0
// The timestep as a vector: sinusoids (Ho et al. 2020, after Vaswani et al. 2017), then two linear layers.
// diffusers 0.42 models/embeddings.py: get_timestep_embedding, TimestepEmbedding.
#pragma once

#include <optional>
#include <span>

#include <ATen/core/Tensor.h>

#include "nn/activation.hpp"
#include "nn/linear.hpp"
#include "tensor/weights.hpp"

namespace t2v::nn {

struct TimestepsOptions {
  int64_t channels = 0;
  bool flip_sin_to_cos = true;        // true: [cos, sin]
  double downscale_freq_shift = 0.0;  // diffusers' class default is 1, its video UNets pass 0
};

/// Always fp32, so that fractional and large timesteps keep their bits. [B] -> [B, channels]
Tensor timesteps(std::span<const double> values, const TimestepsOptions& options, c10::Device device);

/// The same of 0, 1, .. frames - 1, made on the device itself: a call that is recorded there can't wait for the CPU.
Tensor frame_positions(int64_t frames, const TimestepsOptions& options, c10::Device device);

struct TimestepEmbeddingOptions {
  int64_t in_channels = 0;
  int64_t time_embed_dim = 0;
  Activation activation = nullptr;
  std::optional<int64_t> cond_proj_dim = {};
  std::optional<int64_t> out_dim = {};  // none: time_embed_dim
};

struct TimestepEmbedding {
  TimestepEmbedding(const Weights& w, const TimestepEmbeddingOptions& options);
  /// sample [B, in_channels], condition [B, cond_proj_dim] where the model has one -> [B, out_dim]
  Tensor forward(const Tensor& sample, const std::optional<Tensor>& condition = {}) const;

  Linear linear_1;
  std::optional<Linear> cond_proj;
  Activation activation;
  Linear linear_2;
};

}  // namespace t2v::nn
