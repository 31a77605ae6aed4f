// SPDX-License-Identifier: Apache-2.0
#include "nn/time_embedding.hpp"

#include <cmath>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/tensor.h>

#include "tensor/operators.hpp"

namespace t2v::nn {

namespace {

Tensor sinusoids(const Tensor& values, const TimestepsOptions& o) {  // [B] fp32 -> [B, channels]
  constexpr double kMaxPeriod = 10000.0;
  const int64_t half = o.channels / 2;
  // Tensor operators, not std::exp: at t = 1000 one bit of a frequency is 6e-5 of phase.
  const Tensor exponent =
      at::arange(half, values.options()) * -std::log(kMaxPeriod) / (static_cast<double>(half) - o.downscale_freq_shift);
  const Tensor phase = values.unsqueeze(1) * at::exp(exponent).unsqueeze(0);
  Tensor embedding =
      o.flip_sin_to_cos ? at::cat({at::cos(phase), at::sin(phase)}, 1) : at::cat({at::sin(phase), at::cos(phase)}, 1);
  if (o.channels % 2 == 1) {
    embedding = at::constant_pad_nd(embedding, {0, 1});
  }
  return embedding;
}

}  // namespace

Tensor timesteps(std::span<const double> values, const TimestepsOptions& options, c10::Device device) {
  const std::vector<float> narrow(values.begin(), values.end());
  return sinusoids(at::tensor(narrow, at::TensorOptions().dtype(at::kFloat)), options).to(device);
}

Tensor frame_positions(int64_t frames, const TimestepsOptions& options, c10::Device device) {
  return sinusoids(at::arange(frames, at::TensorOptions().dtype(at::kFloat).device(device)), options);
}

TimestepEmbedding::TimestepEmbedding(const Weights& w, const TimestepEmbeddingOptions& o)
    : linear_1(w.at("linear_1"), o.in_channels, o.time_embed_dim),
      activation(o.activation),
      linear_2(w.at("linear_2"), o.time_embed_dim, o.out_dim.value_or(o.time_embed_dim)) {
  if (o.cond_proj_dim) {
    cond_proj.emplace(w.at("cond_proj"), *o.cond_proj_dim, o.in_channels, /*has_bias=*/false);
  }
}

Tensor TimestepEmbedding::forward(const Tensor& sample, const std::optional<Tensor>& condition) const {
  const Tensor x = condition && cond_proj ? sample + cond_proj->forward(*condition) : sample;
  return linear_2.forward(activation(linear_1.forward(x)));
}

}  // namespace t2v::nn
