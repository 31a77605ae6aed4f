// SPDX-License-Identifier: Apache-2.0
// The image autoencoder of latent diffusion (Rombach et al. 2022, arXiv 2112.10752; Kingma and Welling 2014): every frame
// is an image of its own. diffusers 0.42 models/autoencoders/autoencoder_kl.py AutoencoderKL.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include <ATen/core/Tensor.h>

#include "io/checkpoint.hpp"
#include "models/vae/coder.hpp"
#include "models/vae/config.hpp"
#include "nn/conv.hpp"
#include "tensor/rng.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::vae {

/// Calls may run at the same time. Images are in [-1, 1]. Latents are the network's own: before decode() the caller
/// undoes the diffusion model's scaling with unscale(), after encoding it applies scale().
class AutoencoderKL {
 public:
  AutoencoderKL(const AutoencoderKLConfig& config, const Weights& w);

  /// Mean and log-variance one after the other: [N, 3, H, W] -> [N, 2 C, h, w]
  Tensor encode(const Tensor& images) const;
  /// The same in overlapping tiles where an image is larger than the config's sample_size.
  Tensor encode_tiled(const Tensor& images) const;
  static Tensor mean(const Tensor& moments);    // [N, C, h, w]
  static Tensor logvar(const Tensor& moments);  // [N, C, h, w], held to -30 .. 20
  /// One draw from the posterior: noise in the shape, dtype and order of diffusers. [N, C, h, w]
  static Tensor sample(const Tensor& moments, Rng& rng);

  /// [N, C, h, w] -> [N, 3, H, W]. Frames do not see each other: decode as few at once as memory wants.
  Tensor decode(const Tensor& latents) const;
  /// In overlapping tiles where a frame is larger than the config's sample_size: less memory, slightly other pixels.
  Tensor decode_tiled(const Tensor& latents) const;

  Tensor scale(const Tensor& latents) const;    // of the network -> of the diffusion model
  Tensor unscale(const Tensor& latents) const;  // back

  const AutoencoderKLConfig& config() const { return config_; }
  int64_t spatial_factor() const;  ///< pixels a latent, along each side

  /// Loads the same network in fp32, for images that its own precision can't hold. Set by load() where that is less.
  std::function<std::unique_ptr<AutoencoderKL>()> load_fp32;

 private:
  AutoencoderKLConfig config_;
  Encoder encoder_;
  Decoder decoder_;
  std::optional<nn::Conv2d> quant_conv_;
  std::optional<nn::Conv2d> post_quant_conv_;
};

/// Checks the names and shapes of a component's weight file without reading data. Old attention names are understood.
WeightStore header_store(const io::Component& component);
/// Reads config and weights. Error{bad_input} for missing, misshaped and unused tensors.
std::unique_ptr<AutoencoderKL> load(const io::Component& component, const Placement& placement);

/// diffusers before 0.17 named the attention's layers query, key, value and proj_attn.
std::string rename_old_attention(const std::string& name);

}  // namespace t2v::models::vae
