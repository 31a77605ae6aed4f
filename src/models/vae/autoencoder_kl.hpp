// SPDX-License-Identifier: Apache-2.0
// The image autoencoder of latent diffusion (Rombach et al. 2022, arXiv 2112.10752; Kingma and Welling 2014): every
// frame is an image of its own. diffusers 0.42 models/autoencoders/autoencoder_kl.py AutoencoderKL.
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

#include "models/vae/coder.hpp"
#include "models/vae/config.hpp"
#include "models/vae/image_autoencoder.hpp"
#include "nn/conv.hpp"
#include "tensor/rng.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::vae {

class AutoencoderKL final : public ImageAutoencoder {
 public:
  AutoencoderKL(const AutoencoderKLConfig& config, const Weights& w);

  /// Mean and log-variance one after the other: [N, 3, H, W] -> [N, 2 C, h, w]
  Tensor encode(const Tensor& images) const override;
  /// The same in overlapping tiles where an image is larger than the config's sample_size.
  Tensor encode_tiled(const Tensor& images) const;
  static Tensor mean(const Tensor& moments);    // [N, C, h, w]
  static Tensor logvar(const Tensor& moments);  // [N, C, h, w], held to -30 .. 20
  /// One draw from the posterior: noise in the shape, dtype and order of diffusers. [N, C, h, w]
  static Tensor sample(const Tensor& moments, Rng& rng);
  Tensor draw(const Tensor& encoded, Rng& rng) const override { return sample(encoded, rng); }

  Tensor decode(const Tensor& latents) const override;
  /// Tiles are as large as the config's sample_size.
  Tensor decode_tiled(const Tensor& latents) const override;

 private:
  int64_t sample_size_;
  Encoder encoder_;
  Decoder decoder_;
  std::optional<nn::Conv2d> quant_conv_;
  std::optional<nn::Conv2d> post_quant_conv_;
};

}  // namespace t2v::models::vae
