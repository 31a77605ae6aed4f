// SPDX-License-Identifier: Apache-2.0
// An autoencoder of single images, whichever class it is: what families that decode frame by frame know of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "io/checkpoint.hpp"
#include "tensor/rng.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::vae {

using at::Tensor;

/// What the latents of an autoencoder are to a diffusion model.
struct LatentSpace {
  int64_t channels = 4;
  int64_t spatial_factor = 8;   // pixels a latent, along each side
  double scaling_factor = 1.0;  // 1 / standard deviation of the latents
  double shift_factor = 0.0;    // added after unscaling
  bool force_upcast = false;    // the weights overflow in fp16: compute in fp32
};

/// Calls may run at the same time. Images are in [-1, 1]. Latents are the network's own: before decode() the caller
/// undoes the diffusion model's scaling with unscale(), after encoding it applies scale().
class ImageAutoencoder {
 public:
  explicit ImageAutoencoder(const LatentSpace& latents) : latents_(latents) {}
  virtual ~ImageAutoencoder() = default;
  ImageAutoencoder(ImageAutoencoder&&) = default;
  ImageAutoencoder& operator=(ImageAutoencoder&&) = delete;

  /// [N, 3, H, W] -> [N, M, h, w], what draw() reads.
  virtual Tensor encode(const Tensor& images) const = 0;
  /// Latents of encoded images, drawn from a distribution where the class encodes to one: [N, M, h, w] -> [N, C, h, w]
  virtual Tensor draw(const Tensor& encoded, Rng& rng) const = 0;
  /// [N, C, h, w] -> [N, 3, H, W]. Frames do not see each other: decode as few at once as memory wants.
  virtual Tensor decode(const Tensor& latents) const = 0;
  /// In overlapping tiles where a frame is large: less memory, slightly other pixels.
  virtual Tensor decode_tiled(const Tensor& latents) const = 0;

  const LatentSpace& latent_space() const { return latents_; }
  int64_t spatial_factor() const { return latents_.spatial_factor; }
  Tensor scale(const Tensor& latents) const;    // of the network -> of the diffusion model
  Tensor unscale(const Tensor& latents) const;  // back

  /// Loads the same network in fp32, for images that its own precision can't hold. Set by load() where that is less.
  std::function<std::unique_ptr<ImageAutoencoder>()> load_fp32;

 private:
  LatentSpace latents_;
};

/// Of the component's class, whose weights `w` are. Error{unsupported} for a class that is none of ours, and for
/// pictures that are not of three colours.
std::unique_ptr<ImageAutoencoder> image_autoencoder(const io::Component& component, const Weights& w);
/// Reads config and weights. Error{bad_input} for missing, misshaped and unused tensors.
std::unique_ptr<ImageAutoencoder> load(const io::Component& component, const Placement& placement);
/// Checks the names and shapes of a component's weight file without reading data. Old attention names are understood.
WeightStore header_store(const io::Component& component);

/// Error{unsupported} naming the component's class where it is another than `known`. An unnamed one passes.
void expect_class(const io::Component& component, const std::string& known);

/// diffusers before 0.17 named the attention's layers query, key, value and proj_attn.
std::string rename_old_attention(const std::string& name);

}  // namespace t2v::models::vae
