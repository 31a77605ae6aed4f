// SPDX-License-Identifier: Apache-2.0
#include "models/modelscope/config.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "core/text.hpp"
#include "nn/activation.hpp"
#include "t2v/error.hpp"

namespace t2v::models::modelscope {

namespace {

// Far beyond any published model, and small enough that no product of sizes overflows.
constexpr int64_t kMaxBlocks = 12, kMaxLayers = 64, kMaxChannels = 65536, kMaxHeadDim = 4096, kMaxSide = 8192;

constexpr std::array<std::string_view, 2> kDownTypes{"CrossAttnDownBlock3D", "DownBlock3D"};
constexpr std::array<std::string_view, 2> kUpTypes{"CrossAttnUpBlock3D", "UpBlock3D"};

[[noreturn]] void refuse(const io::Config& config, std::string_view key, const std::string& wanted,
                         const std::string& got) {
  throw Error(ErrorCode::bad_input,
              "bad config: " + config.where() + ": " + std::string(key) + ": wanted " + wanted + ", got " + got);
}

/// A key that diffusers refuses as null, because its layers need the number.
void refuse_null(const io::Config& config, std::string_view key) {
  const auto found = config.json().find(std::string(key));
  if (found != config.json().end() && found->is_null()) {
    refuse(config, key, "an integer", "null");
  }
}

double positive(const io::Config& config, std::string_view key, double fallback) {
  const double value = config.get_double(key, fallback);
  if (!(value > 0.0) || !std::isfinite(value)) {
    refuse(config, key, "a positive number", std::to_string(value));
  }
  return value;
}

void check_types(const io::Config& config, std::string_view key, const std::vector<std::string>& types,
                 const std::array<std::string_view, 2>& known) {
  for (const std::string& type : types) {
    if (std::find(known.begin(), known.end(), type) == known.end()) {
      const std::vector<std::string> names(known.begin(), known.end());
      throw Error(ErrorCode::unsupported,
                  "unsupported config: " + config.where() + ": " + std::string(key) + ": wanted " + names[0] + " or " +
                      names[1] + ", got '" + type + "'",
                  did_you_mean(type, names));
    }
  }
}

void check_lengths(const io::Config& config, const UNet3DConfig& c) {
  const size_t blocks = c.block_out_channels.size();
  if (blocks == 0 || blocks > static_cast<size_t>(kMaxBlocks)) {
    refuse(config, "block_out_channels", "1 to " + std::to_string(kMaxBlocks) + " entries", std::to_string(blocks));
  }
  const auto same_length = [&](std::string_view key, const std::vector<std::string>& types) {
    if (types.size() != blocks) {
      refuse(config, key, std::to_string(blocks) + " entries, one for each of block_out_channels",
             std::to_string(types.size()));
    }
  };
  same_length("down_block_types", c.down_block_types);
  same_length("up_block_types", c.up_block_types);
}

void check_divisors(const io::Config& config, const UNet3DConfig& c) {
  const size_t blocks = c.block_out_channels.size();
  for (size_t i = 0; i < blocks; ++i) {
    const int64_t channels = c.block_out_channels[i];
    const std::string got = std::to_string(channels) + " in block_out_channels";
    if (channels % c.norm_num_groups != 0) {
      refuse(config, "norm_num_groups", "a divisor of every block's channels",
             std::to_string(c.norm_num_groups) + " with " + got);
    }
    // The middle block has attention too, at the width of the last block.
    const bool has_heads =
        c.down_block_types[i] == kDownTypes[0] || i + 1 == blocks || c.up_block_types[blocks - 1 - i] == kUpTypes[0];
    if (has_heads && channels % c.attention_head_dim != 0) {
      refuse(config, "attention_head_dim", "a divisor of the channels of every block with attention",
             std::to_string(c.attention_head_dim) + " with " + got);
    }
  }
}

void read_sample_size(const io::Config& config, UNet3DConfig& c) {
  if (!config.has("sample_size")) {
    return;
  }
  const std::vector<int64_t> size = config.get_ints("sample_size", 2, std::nullopt, 1, kMaxSide);
  c.sample_height = size[0];
  c.sample_width = size[1];
}

}  // namespace

UNet3DConfig UNet3DConfig::from(const io::Config& config) {
  UNet3DConfig c;
  read_sample_size(config, c);
  c.in_channels = config.get_int("in_channels", c.in_channels, 1, kMaxChannels);
  c.out_channels = config.get_int("out_channels", c.out_channels, 1, kMaxChannels);
  c.down_block_types = config.get_strings("down_block_types", c.down_block_types);
  c.up_block_types = config.get_strings("up_block_types", c.up_block_types);
  c.block_out_channels = config.get_int_list("block_out_channels", c.block_out_channels, 1, kMaxChannels);
  c.layers_per_block = config.get_int("layers_per_block", c.layers_per_block, 1, kMaxLayers);
  c.downsample_padding = config.get_int("downsample_padding", c.downsample_padding, 0, 1);
  c.mid_block_scale_factor = positive(config, "mid_block_scale_factor", c.mid_block_scale_factor);
  c.act_fn = config.get_string("act_fn", c.act_fn);
  nn::activation(c.act_fn, config.where() + ": act_fn");
  refuse_null(config, "norm_num_groups");
  c.norm_num_groups = config.get_int("norm_num_groups", c.norm_num_groups, 1, kMaxChannels);
  c.norm_eps = positive(config, "norm_eps", c.norm_eps);
  c.cross_attention_dim = config.get_int("cross_attention_dim", c.cross_attention_dim, 1, kMaxChannels);
  c.attention_head_dim = config.get_int("attention_head_dim", c.attention_head_dim, 1, kMaxHeadDim);
  // diffusers refuses any value: the key's meaning was never settled for this class.
  config.require("num_attention_heads", nullptr, "diffusers' UNet3DConditionModel takes attention_head_dim only");
  if (config.has("time_cond_proj_dim")) {
    c.time_cond_proj_dim = config.get_int("time_cond_proj_dim", std::nullopt, 1, kMaxChannels);
  }
  check_lengths(config, c);
  check_types(config, "down_block_types", c.down_block_types, kDownTypes);
  check_types(config, "up_block_types", c.up_block_types, kUpTypes);
  check_divisors(config, c);
  return c;
}

}  // namespace t2v::models::modelscope
