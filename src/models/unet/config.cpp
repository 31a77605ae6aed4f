// SPDX-License-Identifier: Apache-2.0
#include "models/unet/config.hpp"

#include <cmath>
#include <string_view>
#include <utility>

#include "core/text.hpp"
#include "nn/activation.hpp"
#include "t2v/error.hpp"

namespace t2v::models::unet {

namespace {

// Far beyond any published model, and small enough that no product of sizes overflows.
constexpr int64_t kMaxBlocks = 12, kMaxLayers = 64, kMaxChannels = 65536, kMaxHeads = 4096, kMaxSide = 8192,
                  kMaxFrames = 65536;

[[noreturn]] void refuse(const io::Config& config, std::string_view key, const std::string& wanted,
                         const std::string& got) {
  throw Error(ErrorCode::bad_input,
              "bad config: " + config.where() + ": " + std::string(key) + ": wanted " + wanted + ", got " + got);
}

double positive(const io::Config& config, std::string_view key, double fallback) {
  const double value = config.get_double(key, fallback);
  if (!(value > 0.0) || !std::isfinite(value)) {
    refuse(config, key, "a positive number", std::to_string(value));
  }
  return value;
}

std::vector<int64_t> channels_of(const io::Config& config, const std::vector<int64_t>& fallback) {
  const auto channels = config.get_int_list("block_out_channels", fallback, 1, kMaxChannels);
  if (channels.empty() || channels.size() > static_cast<size_t>(kMaxBlocks)) {
    refuse(config, "block_out_channels", "1 to " + std::to_string(kMaxBlocks) + " entries",
           std::to_string(channels.size()));
  }
  return channels;
}

/// One number a level; diffusers lets one stand for all.
std::vector<int64_t> per_level(const io::Config& config, std::string_view key, size_t levels, int64_t fallback,
                               int64_t max) {
  return config.get_ints(key, levels, std::vector<int64_t>(levels, fallback), 1, max);
}

/// Which levels have attention, from block types like "CrossAttnDownBlock2D" and "DownBlock2D".
std::vector<bool> attention_of(const io::Config& config, std::string_view key, const std::string& plain,
                               std::vector<std::string> fallback, size_t levels) {
  const std::string with = "CrossAttn" + plain;
  std::vector<bool> attention;
  for (const std::string& type : config.get_strings(key, std::move(fallback))) {
    if (type != with && type != plain) {
      const std::vector<std::string> names{with, plain};
      throw Error(ErrorCode::unsupported,
                  "unsupported config: " + config.where() + ": " + std::string(key) + ": wanted " + with + " or " +
                      plain + ", got '" + type + "'",
                  did_you_mean(type, names));
    }
    attention.push_back(type == with);
  }
  if (attention.size() != levels) {
    refuse(config, key, std::to_string(levels) + " entries, one for each of block_out_channels",
           std::to_string(attention.size()));
  }
  return attention;
}

/// Keys that change the network in ways no Stable Diffusion 1.x, 2.x or AnimateDiff file uses.
void require_plain(const io::Config& config) {
  struct Key {
    const char* name;
    io::Json allowed;
  };
  const Key keys[] = {{"class_embed_type", nullptr},
                      {"num_class_embeds", nullptr},
                      {"addition_embed_type", nullptr},
                      {"encoder_hid_dim", nullptr},
                      {"encoder_hid_dim_type", nullptr},
                      {"time_embedding_type", "positional"},
                      {"time_embedding_dim", nullptr},
                      {"time_embedding_act_fn", nullptr},
                      {"timestep_post_act", nullptr},
                      {"conv_in_kernel", 3},
                      {"conv_out_kernel", 3},
                      {"resnet_time_scale_shift", "default"},
                      {"resnet_skip_time_act", false},
                      {"resnet_out_scale_factor", 1.0},
                      {"only_cross_attention", false},
                      {"mid_block_only_cross_attention", nullptr},
                      {"dual_cross_attention", false},
                      {"center_input_sample", false},
                      {"cross_attention_norm", nullptr},
                      {"attention_type", "default"},
                      {"class_embeddings_concat", false},
                      {"mid_block_layers", 1},
                      {"transformer_layers_per_mid_block", nullptr},
                      {"reverse_transformer_layers_per_block", nullptr},
                      {"reverse_temporal_transformer_layers_per_block", nullptr},
                      {"reverse_motion_num_attention_heads", nullptr}};
  for (const Key& key : keys) config.require(key.name, key.allowed, "no Stable Diffusion 1.x or 2.x model uses it");
}

void check_divisors(const io::Config& config, const UNet2DConfig& c) {
  const size_t levels = c.block_out_channels.size();
  for (size_t i = 0; i < levels; ++i) {
    const int64_t channels = c.block_out_channels[i];
    const std::string got = std::to_string(channels) + " in block_out_channels";
    if (channels % c.norm_num_groups != 0) {
      refuse(config, "norm_num_groups", "a divisor of every block's channels",
             std::to_string(c.norm_num_groups) + " with " + got);
    }
    // The middle block has attention too, at the width of the last level.
    const bool has_heads = c.down_attention[i] || c.up_attention[levels - 1 - i] || i + 1 == levels;
    if (has_heads && channels % c.heads[i] != 0) {
      refuse(config, c.motion ? "num_attention_heads" : "attention_head_dim",
             "a number of heads that divides the channels of its level", std::to_string(c.heads[i]) + " with " + got);
    }
    if (c.motion && channels % c.motion->heads[i] != 0) {
      refuse(config, "motion_num_attention_heads", "a number of heads that divides the channels of its level",
             std::to_string(c.motion->heads[i]) + " with " + got);
    }
  }
}

void read_sample_size(const io::Config& config, UNet2DConfig& c) {
  if (!config.has("sample_size")) return;
  const std::vector<int64_t> size = config.get_ints("sample_size", 2, std::nullopt, 1, kMaxSide);
  c.sample_height = size[0];
  c.sample_width = size[1];
}

/// The keys of UNetMotionModel; those of a MotionAdapter mean the same under other names.
MotionConfig read_unet_motion(const io::Config& config, size_t levels) {
  MotionConfig m;
  m.depth = per_level(config, "temporal_transformer_layers_per_block", levels, 1, kMaxLayers);
  m.heads = per_level(config, "motion_num_attention_heads", levels, 8, kMaxHeads);
  m.mid_depth =
      config.get_ints("temporal_transformer_layers_per_mid_block", 1, std::vector<int64_t>{1}, 1, kMaxLayers)[0];
  m.max_frames = config.get_int("motion_max_seq_length", m.max_frames, 1, kMaxFrames);
  m.use_mid_block = config.get_bool("use_motion_mid_block", m.use_mid_block);
  return m;
}

}  // namespace

MotionConfig MotionConfig::from_adapter(const io::Config& config) {
  if (config.has("conv_in_channels")) {
    throw Error(ErrorCode::unsupported, "unsupported config: " + config.where() +
                                            ": conv_in_channels: wanted a plain motion module, got one with an input "
                                            "layer of its own (PIA)");
  }
  MotionConfig m;
  m.channels = channels_of(config, {320, 640, 1280, 1280});
  const size_t levels = m.channels.size();
  m.layers = per_level(config, "motion_layers_per_block", levels, 2, kMaxLayers);
  m.depth = per_level(config, "motion_transformer_layers_per_block", levels, 1, kMaxLayers);
  m.heads = per_level(config, "motion_num_attention_heads", levels, 8, kMaxHeads);
  config.require("motion_mid_block_layers_per_block", 1, "a UNet has one middle layer");
  m.mid_depth =
      config.get_ints("motion_transformer_layers_per_mid_block", 1, std::vector<int64_t>{1}, 1, kMaxLayers)[0];
  m.max_frames = config.get_int("motion_max_seq_length", m.max_frames, 1, kMaxFrames);
  m.use_mid_block = config.get_bool("use_motion_mid_block", m.use_mid_block);
  return m;
}

UNet2DConfig UNet2DConfig::from(const io::Config& config) {
  const bool has_motion = config.get_string("_class_name", "UNet2DConditionModel") == "UNetMotionModel";
  const std::string kind = has_motion ? "BlockMotion" : "Block2D";
  UNet2DConfig c;
  read_sample_size(config, c);
  c.in_channels = config.get_int("in_channels", c.in_channels, 1, kMaxChannels);
  c.out_channels = config.get_int("out_channels", c.out_channels, 1, kMaxChannels);
  c.block_out_channels = channels_of(config, c.block_out_channels);
  const size_t levels = c.block_out_channels.size();
  const std::string down = "CrossAttnDown" + kind, up = "CrossAttnUp" + kind;
  c.down_attention = attention_of(config, "down_block_types", "Down" + kind, {down, down, down, "Down" + kind}, levels);
  c.up_attention = attention_of(config, "up_block_types", "Up" + kind, {"Up" + kind, up, up, up}, levels);
  c.layers_per_block = per_level(config, "layers_per_block", levels, 2, kMaxLayers);
  c.transformer_layers = per_level(config, "transformer_layers_per_block", levels, 1, kMaxLayers);
  c.downsample_padding = config.get_int("downsample_padding", c.downsample_padding, 0, 1);
  c.mid_block_scale_factor = positive(config, "mid_block_scale_factor", c.mid_block_scale_factor);
  c.act_fn = config.get_string("act_fn", c.act_fn);
  nn::activation(c.act_fn, config.where() + ": act_fn");
  c.norm_num_groups = config.get_int("norm_num_groups", c.norm_num_groups, 1, kMaxChannels);
  c.norm_eps = positive(config, "norm_eps", c.norm_eps);
  c.cross_attention_dim = per_level(config, "cross_attention_dim", levels, 1280, kMaxChannels);
  if (!has_motion) {
    config.require("num_attention_heads", nullptr, "diffusers' UNet2DConditionModel takes attention_head_dim only");
    config.require("mid_block_type", "UNetMidBlock2DCrossAttn", "no other middle block is known");
    c.flip_sin_to_cos = config.get_bool("flip_sin_to_cos", c.flip_sin_to_cos);
    c.freq_shift = config.get_double("freq_shift", c.freq_shift);
  }
  c.heads = per_level(config, has_motion ? "num_attention_heads" : "attention_head_dim", levels, 8, kMaxHeads);
  if (config.has("time_cond_proj_dim")) {
    c.time_cond_proj_dim = config.get_int("time_cond_proj_dim", std::nullopt, 1, kMaxChannels);
  }
  if (has_motion) c.motion = read_unet_motion(config, levels);
  require_plain(config);
  check_divisors(config, c);
  return c;
}

void UNet2DConfig::add_motion(MotionConfig adapter, const std::string& where) {
  const auto mismatch = [&](const std::string& what, const std::vector<int64_t>& wanted,
                            const std::vector<int64_t>& got) {
    throw Error(ErrorCode::bad_input,
                "motion module does not fit: " + where + ": " + what + ": wanted " + join_ints(wanted) +
                    " as in the model's UNet, got " + join_ints(got),
                "motion modules for Stable Diffusion 1.5 go with models made from it, not with 2.x or XL");
  };
  if (adapter.channels != block_out_channels) mismatch("block_out_channels", block_out_channels, adapter.channels);
  if (adapter.layers != layers_per_block) mismatch("motion_layers_per_block", layers_per_block, adapter.layers);
  for (size_t i = 0; i < block_out_channels.size(); ++i) {
    if (block_out_channels[i] % adapter.heads[i] != 0) {
      mismatch("motion_num_attention_heads: divisors", block_out_channels, adapter.heads);
    }
  }
  motion = std::move(adapter);
}

}  // namespace t2v::models::unet
