// SPDX-License-Identifier: Apache-2.0
#include "models/vae/autoencoder_kl.hpp"

#include <ATen/ops/clamp.h>
#include <ATen/ops/exp.h>

#include "models/vae/tiling.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::vae {

namespace {

/// Only larger inputs are tiled, and a tile must be large enough to advance by three quarters of it.
bool wants_tiles(const Tensor& x, int64_t tile) { return tile >= 2 && (x.size(2) > tile || x.size(3) > tile); }

}  // namespace

AutoencoderKL::AutoencoderKL(const AutoencoderKLConfig& c, const Weights& w)
    : ImageAutoencoder({.channels = c.latent_channels,
                        .spatial_factor = int64_t{1} << (c.block_out_channels.size() - 1),
                        .scaling_factor = c.scaling_factor,
                        .shift_factor = c.shift_factor,
                        .force_upcast = c.force_upcast}),
      sample_size_(c.sample_size),
      encoder_(w.at("encoder"), c),
      decoder_(w.at("decoder"), c) {
  if (c.use_quant_conv) {
    quant_conv_.emplace(w.at("quant_conv"),
                        nn::Conv2dOptions{.in_channels = 2 * c.latent_channels, .out_channels = 2 * c.latent_channels});
  }
  if (c.use_post_quant_conv) {
    post_quant_conv_.emplace(w.at("post_quant_conv"),
                             nn::Conv2dOptions{.in_channels = c.latent_channels, .out_channels = c.latent_channels});
  }
}

Tensor AutoencoderKL::encode(const Tensor& images) const {
  const Tensor moments = encoder_.forward(images);
  return quant_conv_ ? quant_conv_->forward(moments) : moments;
}

Tensor AutoencoderKL::encode_tiled(const Tensor& images) const {
  if (!wants_tiles(images, sample_size_)) {
    return encode(images);
  }
  return run_tiled(images, {.input = sample_size_, .output = sample_size_ / spatial_factor()},
                   [this](const Tensor& tile) { return encode(tile); });
}

Tensor AutoencoderKL::mean(const Tensor& moments) { return moments.chunk(2, 1)[0]; }

Tensor AutoencoderKL::logvar(const Tensor& moments) { return at::clamp(moments.chunk(2, 1)[1], -30.0, 20.0); }

Tensor AutoencoderKL::sample(const Tensor& moments, Rng& rng) {
  const Tensor centre = mean(moments);
  return centre + at::exp(logvar(moments) * 0.5) * rng.normal_like(centre);
}

Tensor AutoencoderKL::decode(const Tensor& latents) const {
  return decoder_.forward(post_quant_conv_ ? post_quant_conv_->forward(latents) : latents);
}

Tensor AutoencoderKL::decode_tiled(const Tensor& latents) const {
  const int64_t tile = sample_size_ / spatial_factor();
  if (!wants_tiles(latents, tile)) {
    return decode(latents);
  }
  return run_tiled(latents, {.input = tile, .output = sample_size_},
                   [this](const Tensor& part) { return decode(part); });
}

}  // namespace t2v::models::vae
