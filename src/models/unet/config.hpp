// SPDX-License-Identifier: Apache-2.0
// unet/config.json of Stable Diffusion 1.x and 2.x (UNet2DConditionModel) and of AnimateDiff (UNetMotionModel), and
// config.json of a MotionAdapter, with the names and defaults of diffusers 0.42.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/config.hpp"

namespace t2v::models::unet {

/// Motion modules (Guo et al. 2023, arXiv 2307.04725): a temporal transformer after every layer. One entry a level,
/// counted from the top.
struct MotionConfig {
  std::vector<int64_t> channels;  // block_out_channels; empty where the UNet's own config says nothing about them
  std::vector<int64_t> layers;    // modules of a level on the way down; one more on the way up
  std::vector<int64_t> depth;     // transformer blocks of a module
  std::vector<int64_t> heads;
  int64_t mid_depth = 1;
  int64_t max_frames = 32;    // motion_max_seq_length: 24 in v1, 32 in v2 and v3
  bool use_mid_block = true;  // v2 only

  /// A MotionAdapter's config.json.
  static MotionConfig from_adapter(const io::Config& config);
};

struct UNet2DConfig {
  int64_t sample_height = 64, sample_width = 64;  // of the latents
  int64_t in_channels = 4;
  int64_t out_channels = 4;
  std::vector<bool> down_attention{true, true, true, false};  // down_block_types: with CrossAttn or without
  std::vector<bool> up_attention{false, true, true, true};
  std::vector<int64_t> block_out_channels{320, 640, 1280, 1280};
  std::vector<int64_t> layers_per_block{2, 2, 2, 2};
  std::vector<int64_t> transformer_layers{1, 1, 1, 1};  // transformer_layers_per_block
  int64_t downsample_padding = 1;
  double mid_block_scale_factor = 1.0;
  std::string act_fn = "silu";
  int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;
  std::vector<int64_t> cross_attention_dim{1280, 1280, 1280, 1280};
  std::vector<int64_t> heads{8, 8, 8, 8};  // attention_head_dim of UNet2DConditionModel, whatever its name says
  bool flip_sin_to_cos = true;
  double freq_shift = 0.0;
  std::optional<int64_t> time_cond_proj_dim;  // guidance as an input: consistency models
  std::optional<MotionConfig> motion;         // UNetMotionModel; absent: frames do not see each other

  /// Reads and checks every key of either class. Error{bad_input} names the key that is out of range or contradicts
  /// another, Error{unsupported} the one that asks for what this network does not have.
  static UNet2DConfig from(const io::Config& config);
  /// Puts an adapter's modules into a UNet without: diffusers' UNetMotionModel.from_unet2d. `where` names the adapter.
  /// Error{bad_input} when they do not fit together.
  void add_motion(MotionConfig motion, const std::string& where);
};

}  // namespace t2v::models::unet
