// SPDX-License-Identifier: Apache-2.0
// TAESD: a distilled autoencoder that decodes some ten times as fast as the one it was taught by, a little less
// sharply. diffusers 0.42 models/autoencoders/autoencoder_tiny.py AutoencoderTiny, vae.py EncoderTiny and DecoderTiny,
// unet_2d_blocks.py AutoencoderTinyBlock. Its latents are those of the diffusion model: nothing is scaled or drawn.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/config.hpp"
#include "models/vae/image_autoencoder.hpp"
#include "nn/activation.hpp"
#include "nn/conv.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::vae {

/// vae/config.json with the names and defaults of diffusers. Its latent_magnitude and latent_shift are for latents
/// stored as bytes, which we never do.
struct AutoencoderTinyConfig {
  int64_t in_channels = 3;
  int64_t out_channels = 3;
  std::vector<int64_t> encoder_block_out_channels{64, 64, 64, 64};
  std::vector<int64_t> decoder_block_out_channels{64, 64, 64, 64};
  std::string act_fn = "relu";
  int64_t latent_channels = 4;
  std::vector<int64_t> num_encoder_blocks{1, 3, 3, 3};
  std::vector<int64_t> num_decoder_blocks{3, 3, 3, 1};
  double scaling_factor = 1.0;
  double shift_factor = 0.0;
  bool decoder_only = false;  // not of diffusers: the weights are a file that holds nothing else

  /// Reads and checks every key. Error{bad_input} names the key that is out of range or contradicts another.
  static AutoencoderTinyConfig from(const io::Config& config);
};

/// Three convolutions and what they were given, [N, C, H, W] -> the same shape.
struct TinyBlock {
  TinyBlock(const Weights& w, int64_t channels, nn::Activation activation);
  Tensor forward(const Tensor& x) const;

  nn::Conv2d first, second, third;
  nn::Activation activation;
};

class AutoencoderTiny final : public ImageAutoencoder {
 public:
  AutoencoderTiny(const AutoencoderTinyConfig& config, const Weights& w);

  /// [N, 3, H, W] -> [N, C, h, w]. Error{bad_input} where there is no encoder.
  Tensor encode(const Tensor& images) const override;
  Tensor draw(const Tensor& encoded, Rng&) const override { return encoded; }
  Tensor decode(const Tensor& latents) const override;
  /// Tiles of 512 x 512 pixels, whatever the config.
  Tensor decode_tiled(const Tensor& latents) const override;

 private:
  /// One resolution: in the encoder the convolution comes before the blocks, in the decoder after them.
  struct Level {
    std::vector<TinyBlock> blocks;
    nn::Conv2d conv;
  };
  struct Encoder {
    Encoder(const AutoencoderTinyConfig& c, const Weights& w);
    std::vector<Level> levels;
    nn::Conv2d out;
  };
  static std::vector<Level> encoder_levels(const AutoencoderTinyConfig& c, const Weights& w);
  static std::vector<Level> decoder_levels(const AutoencoderTinyConfig& c, const Weights& w);

  nn::Activation activation_;
  std::optional<Encoder> encoder_;
  nn::Conv2d decoder_in_;
  std::vector<Level> decoder_;
};

}  // namespace t2v::models::vae
