// SPDX-License-Identifier: Apache-2.0
// vae/config.json of an image autoencoder, with the names and defaults of diffusers 0.42 AutoencoderKL.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/config.hpp"

namespace t2v::models::vae {

struct AutoencoderKLConfig {
  int64_t in_channels = 3;
  int64_t out_channels = 3;
  std::vector<std::string> down_block_types{"DownEncoderBlock2D"};
  std::vector<std::string> up_block_types{"UpDecoderBlock2D"};
  std::vector<int64_t> block_out_channels{64};
  int64_t layers_per_block = 1;
  std::string act_fn = "silu";
  int64_t latent_channels = 4;
  int64_t norm_num_groups = 32;
  int64_t sample_size = 32;         // side of a tile in pixels, when tiling
  double scaling_factor = 0.18215;  // 1 / standard deviation of the latents; older files lack the key
  double shift_factor = 0.0;        // added after unscaling; null in most files
  bool force_upcast = true;         // the weights overflow in fp16: compute in fp32
  bool use_quant_conv = true;
  bool use_post_quant_conv = true;
  bool mid_block_add_attention = true;

  /// Reads and checks every key. Error{bad_input} names the key that is out of range or contradicts another.
  static AutoencoderKLConfig from(const io::Config& config);
};

}  // namespace t2v::models::vae
