// SPDX-License-Identifier: Apache-2.0
// unet/config.json of the ModelScope family, with the names and defaults of diffusers 0.42 UNet3DConditionModel.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/config.hpp"

namespace t2v::models::modelscope {

struct UNet3DConfig {
  int64_t sample_height = 32, sample_width = 32;  // sample_size, of the latents; diffusers has no default
  int64_t in_channels = 4;
  int64_t out_channels = 4;
  std::vector<std::string> down_block_types{"CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D",
                                            "DownBlock3D"};
  std::vector<std::string> up_block_types{"UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D",
                                          "CrossAttnUpBlock3D"};
  std::vector<int64_t> block_out_channels{320, 640, 1280, 1280};
  int64_t layers_per_block = 2;
  int64_t downsample_padding = 1;
  double mid_block_scale_factor = 1.0;
  std::string act_fn = "silu";
  int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;
  int64_t cross_attention_dim = 1024;
  int64_t attention_head_dim = 64;  // truly the width of a head here: heads = channels / 64
  std::optional<int64_t> time_cond_proj_dim;

  /// Reads and checks every key. Error{bad_input} names the key that is out of range or contradicts another.
  static UNet3DConfig from(const io::Config& config);
};

}  // namespace t2v::models::modelscope
