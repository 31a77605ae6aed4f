// SPDX-License-Identifier: Apache-2.0
#include "models/vae/config.hpp"

#include <cmath>
#include <string_view>

#include "nn/activation.hpp"
#include "t2v/error.hpp"

namespace t2v::models::vae {

namespace {

// Far beyond any published model, and small enough that no product of sizes overflows.
constexpr int64_t kMaxBlocks = 12, kMaxLayers = 64, kMaxChannels = 65536, kMaxSide = 65536;

[[noreturn]] void refuse(const io::Config& config, std::string_view key, const std::string& wanted,
                         const std::string& got) {
  throw Error(ErrorCode::bad_input,
              "bad config: " + config.where() + ": " + std::string(key) + ": wanted " + wanted + ", got " + got);
}

void check_types(const io::Config& config, std::string_view key, const std::vector<std::string>& types,
                 std::string_view known, size_t blocks) {
  for (const std::string& type : types) {
    if (type != known) {
      throw Error(ErrorCode::unsupported, "unsupported config: " + config.where() + ": " + std::string(key) +
                                              ": wanted " + std::string(known) + ", got '" + type + "'");
    }
  }
  if (types.size() != blocks) {
    refuse(config, key, std::to_string(blocks) + " entries, one for each of block_out_channels",
           std::to_string(types.size()));
  }
}

void check(const io::Config& config, const AutoencoderKLConfig& c) {
  const size_t blocks = c.block_out_channels.size();
  if (blocks == 0 || blocks > static_cast<size_t>(kMaxBlocks)) {
    refuse(config, "block_out_channels", "1 to " + std::to_string(kMaxBlocks) + " entries", std::to_string(blocks));
  }
  check_types(config, "down_block_types", c.down_block_types, "DownEncoderBlock2D", blocks);
  check_types(config, "up_block_types", c.up_block_types, "UpDecoderBlock2D", blocks);
  for (const int64_t channels : c.block_out_channels) {
    if (channels % c.norm_num_groups != 0) {
      refuse(config, "norm_num_groups", "a divisor of every block's channels",
             std::to_string(c.norm_num_groups) + " with " + std::to_string(channels) + " in block_out_channels");
    }
  }
  if (!(c.scaling_factor > 0.0) || !std::isfinite(c.scaling_factor)) {
    refuse(config, "scaling_factor", "a positive number", std::to_string(c.scaling_factor));
  }
  if (!std::isfinite(c.shift_factor)) {
    refuse(config, "shift_factor", "a finite number", std::to_string(c.shift_factor));
  }
}

}  // namespace

AutoencoderKLConfig AutoencoderKLConfig::from(const io::Config& config) {
  AutoencoderKLConfig c;
  c.in_channels = config.get_int("in_channels", c.in_channels, 1, kMaxChannels);
  c.out_channels = config.get_int("out_channels", c.out_channels, 1, kMaxChannels);
  c.down_block_types = config.get_strings("down_block_types", c.down_block_types);
  c.up_block_types = config.get_strings("up_block_types", c.up_block_types);
  c.block_out_channels = config.get_int_list("block_out_channels", c.block_out_channels, 1, kMaxChannels);
  c.layers_per_block = config.get_int("layers_per_block", c.layers_per_block, 1, kMaxLayers);
  c.act_fn = config.get_string("act_fn", c.act_fn);
  nn::activation(c.act_fn, config.where() + ": act_fn");
  c.latent_channels = config.get_int("latent_channels", c.latent_channels, 1, kMaxChannels);
  c.norm_num_groups = config.get_int("norm_num_groups", c.norm_num_groups, 1, kMaxChannels);
  // Some files give height and width; diffusers cuts square tiles by the first.
  c.sample_size = config.get_ints("sample_size", 2, std::vector<int64_t>(2, c.sample_size), 1, kMaxSide)[0];
  c.scaling_factor = config.get_double("scaling_factor", c.scaling_factor);
  c.shift_factor = config.get_double("shift_factor", c.shift_factor);
  c.force_upcast = config.get_bool("force_upcast", c.force_upcast);
  c.use_quant_conv = config.get_bool("use_quant_conv", c.use_quant_conv);
  c.use_post_quant_conv = config.get_bool("use_post_quant_conv", c.use_post_quant_conv);
  c.mid_block_add_attention = config.get_bool("mid_block_add_attention", c.mid_block_add_attention);
  check(config, c);
  return c;
}

}  // namespace t2v::models::vae
