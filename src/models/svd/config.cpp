// SPDX-License-Identifier: Apache-2.0
#include "models/svd/config.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "core/text.hpp"
#include "models/svd/layers.hpp"
#include "t2v/error.hpp"

namespace t2v::models::svd {

namespace {

// Far beyond any published model, and small enough that no product of sizes overflows.
constexpr int64_t kMaxBlocks = 12, kMaxLayers = 64, kMaxChannels = 65536, kMaxFrames = 100000;

constexpr std::array<std::string_view, 2> kDownTypes{"CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"};
constexpr std::array<std::string_view, 2> kUpTypes{"CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"};

[[noreturn]] void refuse(const io::Config& config, std::string_view key, const std::string& wanted,
                         const std::string& got) {
  throw Error(ErrorCode::bad_input,
              "bad config: " + config.where() + ": " + std::string(key) + ": wanted " + wanted + ", got " + got);
}

void check_types(const io::Config& config, std::string_view key, const std::vector<std::string>& types,
                 const std::array<std::string_view, 2>& known, size_t blocks) {
  if (types.size() != blocks) {
    refuse(config, key, std::to_string(blocks) + " entries, one for each of block_out_channels",
           std::to_string(types.size()));
  }
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

void check_divisors(const io::Config& config, const UNetSpatioTemporalConfig& c) {
  for (size_t i = 0; i < c.block_out_channels.size(); ++i) {
    const int64_t channels = c.block_out_channels[i];
    if (channels % kGroups != 0) {
      refuse(config, "block_out_channels", "multiples of " + std::to_string(kGroups), std::to_string(channels));
    }
    if (channels % c.num_attention_heads[i] != 0) {
      refuse(config, "num_attention_heads", "a divisor of the block's " + std::to_string(channels) + " channels",
             std::to_string(c.num_attention_heads[i]));
    }
    // One image token serves the whole network.
    if (c.cross_attention_dim[i] != c.cross_attention_dim[0]) {
      refuse(config, "cross_attention_dim", "the same number for all blocks", join_ints(c.cross_attention_dim));
    }
  }
  if (c.projection_class_embeddings_input_dim % c.addition_time_embed_dim != 0) {
    refuse(config, "projection_class_embeddings_input_dim",
           "a multiple of addition_time_embed_dim " + std::to_string(c.addition_time_embed_dim),
           std::to_string(c.projection_class_embeddings_input_dim));
  }
}

}  // namespace

UNetSpatioTemporalConfig UNetSpatioTemporalConfig::from(const io::Config& config) {
  UNetSpatioTemporalConfig c;
  c.in_channels = config.get_int("in_channels", c.in_channels, 1, kMaxChannels);
  c.out_channels = config.get_int("out_channels", c.out_channels, 1, kMaxChannels);
  c.block_out_channels = config.get_int_list("block_out_channels", c.block_out_channels, 1, kMaxChannels);
  const size_t blocks = c.block_out_channels.size();
  if (blocks == 0 || blocks > static_cast<size_t>(kMaxBlocks)) {
    refuse(config, "block_out_channels", "1 to " + std::to_string(kMaxBlocks) + " entries", std::to_string(blocks));
  }
  c.down_block_types = config.get_strings("down_block_types", c.down_block_types);
  c.up_block_types = config.get_strings("up_block_types", c.up_block_types);
  check_types(config, "down_block_types", c.down_block_types, kDownTypes, blocks);
  check_types(config, "up_block_types", c.up_block_types, kUpTypes, blocks);
  const auto per_block = [&](std::string_view key, std::vector<int64_t> fallback, int64_t max) {
    return config.get_ints(key, blocks, std::move(fallback), 1, max);
  };
  c.layers_per_block = per_block("layers_per_block", std::vector<int64_t>(blocks, 2), kMaxLayers);
  c.cross_attention_dim = per_block("cross_attention_dim", std::vector<int64_t>(blocks, 1024), kMaxChannels);
  c.transformer_layers_per_block =
      per_block("transformer_layers_per_block", std::vector<int64_t>(blocks, 1), kMaxLayers);
  c.num_attention_heads = per_block("num_attention_heads", {5, 10, 20, 20}, kMaxChannels);
  if (c.num_attention_heads.size() != blocks) {
    refuse(config, "num_attention_heads", std::to_string(blocks) + " entries", "none");
  }
  c.addition_time_embed_dim = config.get_int("addition_time_embed_dim", c.addition_time_embed_dim, 1, kMaxChannels);
  c.projection_class_embeddings_input_dim =
      config.get_int("projection_class_embeddings_input_dim", c.projection_class_embeddings_input_dim, 1, kMaxChannels);
  c.num_frames = config.get_int("num_frames", c.num_frames, 1, kMaxFrames);
  check_divisors(config, c);
  return c;
}

}  // namespace t2v::models::svd
