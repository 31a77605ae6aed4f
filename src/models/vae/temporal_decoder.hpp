// SPDX-License-Identifier: Apache-2.0
// The autoencoder of Stable Video Diffusion (arXiv 2311.15127): images are encoded one by one, frames are decoded
// together. diffusers 0.42 models/autoencoders/autoencoder_kl_temporal_decoder.py AutoencoderKLTemporalDecoder, with
// MidBlockTemporalDecoder and UpBlockTemporalDecoder of models/unets/unet_3d_blocks.py.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/checkpoint.hpp"
#include "models/vae/coder.hpp"
#include "models/vae/config.hpp"
#include "nn/conv.hpp"
#include "nn/norm.hpp"
#include "nn/resample.hpp"
#include "nn/spatio_temporal_resnet.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::vae {

struct TemporalDecoder {
  TemporalDecoder(const Weights& w, const AutoencoderKLConfig& config);
  /// All frames of one video, or of one chunk of it, which then is a video of its own: [F, C, h, w] -> [F, 3, H, W]
  Tensor forward(const Tensor& latents) const;

  struct UpBlock {
    std::vector<nn::SpatioTemporalResBlock> resnets;
    std::optional<nn::Upsample2D> upsampler;
  };
  nn::Conv2d conv_in;
  std::vector<nn::SpatioTemporalResBlock> mid_resnets;  // mid_block.resnets
  PixelAttention mid_attention;                         // mid_block.attentions.0
  std::vector<UpBlock> up_blocks;
  nn::GroupNorm conv_norm_out;
  nn::Conv2d conv_out;
  nn::Conv2d time_conv_out;  // the (3,1,1) kernel over [B, C, F, H*W]
};

/// vae/config.json of this class: the keys that it shares with AutoencoderKL, and what it fixes.
AutoencoderKLConfig temporal_decoder_config(const io::Config& config);

/// Calls may run at the same time. As AutoencoderKL otherwise: images in [-1, 1], latents unscaled with unscale().
class AutoencoderKLTemporalDecoder {
 public:
  AutoencoderKLTemporalDecoder(const AutoencoderKLConfig& config, const Weights& w);

  /// Mean and log-variance one after the other, as AutoencoderKL::mean() takes them: [N, 3, H, W] -> [N, 2 C, h, w]
  Tensor encode(const Tensor& images) const;
  /// [F, C, h, w] -> [F, 3, H, W]. Frames see each other: decoding fewer at once changes the result a little.
  Tensor decode(const Tensor& latents) const;
  /// In overlapping tiles where a frame is larger than the config's sample_size: less memory, slightly other pixels.
  Tensor decode_tiled(const Tensor& latents) const;
  Tensor unscale(const Tensor& latents) const;

  const AutoencoderKLConfig& config() const { return config_; }
  int64_t spatial_factor() const;  ///< pixels a latent, along each side

  /// As AutoencoderKL::load_fp32.
  std::function<std::unique_ptr<AutoencoderKLTemporalDecoder>()> load_fp32;

 private:
  AutoencoderKLConfig config_;
  Encoder encoder_;
  TemporalDecoder decoder_;
  nn::Conv2d quant_conv_;
};

/// Reads config and weights. Error{bad_input} for missing, misshaped and unused tensors.
std::unique_ptr<AutoencoderKLTemporalDecoder> load_temporal_decoder(const io::Component& component,
                                                                    const Placement& placement);

}  // namespace t2v::models::vae
