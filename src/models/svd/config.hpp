// SPDX-License-Identifier: Apache-2.0
// unet/config.json of Stable Video Diffusion, with the names and defaults of diffusers 0.42
// UNetSpatioTemporalConditionModel.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/config.hpp"

namespace t2v::models::svd {

struct UNetSpatioTemporalConfig {
  int64_t in_channels = 8;  // of the noisy latents and the image's latents together
  int64_t out_channels = 4;
  std::vector<std::string> down_block_types{"CrossAttnDownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal",
                                            "CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"};
  std::vector<std::string> up_block_types{"UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal",
                                          "CrossAttnUpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"};
  std::vector<int64_t> block_out_channels{320, 640, 1280, 1280};
  int64_t addition_time_embed_dim = 256;
  int64_t projection_class_embeddings_input_dim = 768;
  // One entry a block; files may give one number for all.
  std::vector<int64_t> layers_per_block;
  std::vector<int64_t> cross_attention_dim;
  std::vector<int64_t> transformer_layers_per_block;
  std::vector<int64_t> num_attention_heads;
  int64_t num_frames = 25;

  int64_t time_embed_dim() const { return 4 * block_out_channels[0]; }
  int64_t added_ids() const { return projection_class_embeddings_input_dim / addition_time_embed_dim; }

  /// Reads and checks every key. Error{bad_input} names the key that is out of range or contradicts another.
  static UNetSpatioTemporalConfig from(const io::Config& config);
};

}  // namespace t2v::models::svd
