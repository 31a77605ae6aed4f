// SPDX-License-Identifier: Apache-2.0
#include "models/vae/autoencoder_tiny.hpp"

#include <cmath>
#include <numeric>
#include <string>
#include <string_view>

#include <ATen/ops/tanh.h>

#include "models/vae/tiling.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::vae {

namespace {

// Far beyond any published model, and small enough that no product of sizes overflows.
constexpr int64_t kMaxLevels = 12, kMaxBlocks = 64, kMaxChannels = 65536;
constexpr double kLatentRange = 3;  // decoded latents are bent into (-3, 3)
constexpr int64_t kTilePixels = 512;

[[noreturn]] void refuse(ErrorCode code, const io::Config& config, std::string_view key, const std::string& wanted,
                         const std::string& got) {
  throw Error(code, "bad config: " + config.where() + ": " + std::string(key) + ": wanted " + wanted + ", got " + got);
}

/// As many numbers of blocks as widths, and one width: the convolution between two levels keeps it.
void check_levels(const io::Config& config, const std::string& half, const std::vector<int64_t>& channels,
                  const std::vector<int64_t>& blocks) {
  const std::string channels_key = half + "_block_out_channels";
  if (channels.empty() || channels.size() > static_cast<size_t>(kMaxLevels)) {
    refuse(ErrorCode::bad_input, config, channels_key, "1 to " + std::to_string(kMaxLevels) + " entries",
           std::to_string(channels.size()));
  }
  for (const int64_t width : channels) {
    if (width == channels.front()) continue;
    refuse(ErrorCode::bad_input, config, channels_key, "equal entries",
           std::to_string(channels.front()) + " and " + std::to_string(width));
  }
  if (blocks.size() != channels.size()) {
    refuse(ErrorCode::bad_input, config, "num_" + half + "_blocks",
           std::to_string(channels.size()) + " entries, one for each of " + channels_key,
           std::to_string(blocks.size()));
  }
}

void check(const io::Config& config, const AutoencoderTinyConfig& c) {
  check_levels(config, "encoder", c.encoder_block_out_channels, c.num_encoder_blocks);
  check_levels(config, "decoder", c.decoder_block_out_channels, c.num_decoder_blocks);
  if (c.encoder_block_out_channels.size() != c.decoder_block_out_channels.size()) {
    refuse(ErrorCode::bad_input, config, "decoder_block_out_channels",
           "as many levels as the encoder's " + std::to_string(c.encoder_block_out_channels.size()),
           std::to_string(c.decoder_block_out_channels.size()));
  }
  if (!(c.scaling_factor > 0.0) || !std::isfinite(c.scaling_factor)) {
    refuse(ErrorCode::bad_input, config, "scaling_factor", "a positive number", std::to_string(c.scaling_factor));
  }
  if (!std::isfinite(c.shift_factor)) {
    refuse(ErrorCode::bad_input, config, "shift_factor", "a finite number", std::to_string(c.shift_factor));
  }
  if (const int64_t factor = config.get_int("upsampling_scaling_factor", 2, 1, kMaxChannels); factor != 2) {
    refuse(ErrorCode::unsupported, config, "upsampling_scaling_factor", "2", std::to_string(factor));
  }
  if (const std::string upsample = config.get_string("upsample_fn", "nearest"); upsample != "nearest") {
    refuse(ErrorCode::unsupported, config, "upsample_fn", "nearest", "'" + upsample + "'");
  }
}

nn::Conv2dOptions conv3x3(int64_t in_channels, int64_t out_channels) {
  return {.in_channels = in_channels, .out_channels = out_channels, .kernel = {3, 3}, .padding = {1, 1}};
}

std::vector<TinyBlock> take_blocks(const Weights& layers, int64_t& index, int64_t count, int64_t channels,
                                   nn::Activation activation) {
  std::vector<TinyBlock> blocks;
  for (int64_t i = 0; i < count; ++i) blocks.emplace_back(layers.at(index++), channels, activation);
  return blocks;
}

/// Where the last convolution stands in an encoder's list of layers.
int64_t last_index(const std::vector<int64_t>& blocks) {
  return static_cast<int64_t>(blocks.size()) + std::accumulate(blocks.begin(), blocks.end(), int64_t{0});
}

}  // namespace

AutoencoderTinyConfig AutoencoderTinyConfig::from(const io::Config& config) {
  AutoencoderTinyConfig c;
  c.in_channels = config.get_int("in_channels", c.in_channels, 1, kMaxChannels);
  c.out_channels = config.get_int("out_channels", c.out_channels, 1, kMaxChannels);
  c.encoder_block_out_channels =
      config.get_int_list("encoder_block_out_channels", c.encoder_block_out_channels, 1, kMaxChannels);
  c.decoder_block_out_channels =
      config.get_int_list("decoder_block_out_channels", c.decoder_block_out_channels, 1, kMaxChannels);
  c.act_fn = config.get_string("act_fn", c.act_fn);
  nn::activation(c.act_fn, config.where() + ": act_fn");
  c.latent_channels = config.get_int("latent_channels", c.latent_channels, 1, kMaxChannels);
  c.num_encoder_blocks = config.get_int_list("num_encoder_blocks", c.num_encoder_blocks, 0, kMaxBlocks);
  c.num_decoder_blocks = config.get_int_list("num_decoder_blocks", c.num_decoder_blocks, 0, kMaxBlocks);
  c.scaling_factor = config.get_double("scaling_factor", c.scaling_factor);
  c.shift_factor = config.get_double("shift_factor", c.shift_factor);
  c.decoder_only = config.get_bool("decoder_only", c.decoder_only);
  check(config, c);
  return c;
}

TinyBlock::TinyBlock(const Weights& w, int64_t channels, nn::Activation act)
    : first(w.at("conv.0"), conv3x3(channels, channels)),
      second(w.at("conv.2"), conv3x3(channels, channels)),
      third(w.at("conv.4"), conv3x3(channels, channels)),
      activation(act) {}

Tensor TinyBlock::forward(const Tensor& x) const {
  const Tensor h = activation(second.forward(activation(first.forward(x))));
  return third.forward(h, {.residual = x}).clamp_min_(0);  // a ReLU, whatever the activation within
}

std::vector<AutoencoderTiny::Level> AutoencoderTiny::encoder_levels(const AutoencoderTinyConfig& c, const Weights& w) {
  const int64_t channels = c.encoder_block_out_channels.front();
  nn::Conv2dOptions halving = conv3x3(channels, channels);
  halving.stride = {2, 2};
  halving.has_bias = false;
  std::vector<Level> levels;
  int64_t index = 0;
  for (const int64_t count : c.num_encoder_blocks) {
    nn::Conv2d conv(w.at(index), index == 0 ? conv3x3(c.in_channels, channels) : halving);
    ++index;
    levels.push_back({take_blocks(w, index, count, channels, nn::activation(c.act_fn, "act_fn")), std::move(conv)});
  }
  return levels;
}

std::vector<AutoencoderTiny::Level> AutoencoderTiny::decoder_levels(const AutoencoderTinyConfig& c, const Weights& w) {
  const int64_t channels = c.decoder_block_out_channels.front();
  nn::Conv2dOptions doubling = conv3x3(channels, channels);
  doubling.doubles = true;
  doubling.has_bias = false;
  std::vector<Level> levels;
  int64_t index = 2;  // after the first convolution and its activation
  for (size_t i = 0; i < c.num_decoder_blocks.size(); ++i) {
    auto blocks = take_blocks(w, index, c.num_decoder_blocks[i], channels, nn::activation(c.act_fn, "act_fn"));
    const bool is_last = i + 1 == c.num_decoder_blocks.size();
    if (!is_last) ++index;  // the doubling, which has no weights
    levels.push_back(
        {std::move(blocks), nn::Conv2d(w.at(index), is_last ? conv3x3(channels, c.out_channels) : doubling)});
    ++index;
  }
  return levels;
}

AutoencoderTiny::Encoder::Encoder(const AutoencoderTinyConfig& c, const Weights& w)
    : levels(encoder_levels(c, w)),
      out(w.at(last_index(c.num_encoder_blocks)), conv3x3(c.encoder_block_out_channels.front(), c.latent_channels)) {}

AutoencoderTiny::AutoencoderTiny(const AutoencoderTinyConfig& c, const Weights& w)
    : ImageAutoencoder({.channels = c.latent_channels,
                        .spatial_factor = int64_t{1} << (c.decoder_block_out_channels.size() - 1),
                        .scaling_factor = c.scaling_factor,
                        .shift_factor = c.shift_factor}),
      activation_(nn::activation(c.act_fn, "act_fn")),
      decoder_in_(w.at("decoder.layers.0"), conv3x3(c.latent_channels, c.decoder_block_out_channels.front())),
      decoder_(decoder_levels(c, w.at("decoder.layers"))) {
  if (!c.decoder_only) encoder_.emplace(c, w.at("encoder.layers"));
}

Tensor AutoencoderTiny::encode(const Tensor& images) const {
  if (!encoder_) {
    throw Error(ErrorCode::bad_input, "bad model: vae: wanted an autoencoder that also encodes, got a decoder alone",
                "give the whole AutoencoderTiny with --vae, or leave --video out");
  }
  Tensor x = ((images + 1.0) / 2.0).contiguous(at::MemoryFormat::ChannelsLast);  // it was taught colours of 0 to 1
  for (const Level& level : encoder_->levels) {
    x = level.conv.forward(x);
    for (const TinyBlock& block : level.blocks) x = block.forward(x);
  }
  return encoder_->out.forward(x);
}

Tensor AutoencoderTiny::decode(const Tensor& latents) const {
  const Tensor bent = at::tanh(latents / kLatentRange) * kLatentRange;
  Tensor x = activation_(decoder_in_.forward(bent.contiguous(at::MemoryFormat::ChannelsLast)));
  for (const Level& level : decoder_) {
    for (const TinyBlock& block : level.blocks) x = block.forward(x);
    x = level.conv.options.doubles ? level.conv.forward_doubled(x) : level.conv.forward(x);
  }
  return x * 2.0 - 1.0;
}

Tensor AutoencoderTiny::decode_tiled(const Tensor& latents) const {
  return run_faded(latents, {.input = kTilePixels / spatial_factor(), .output = kTilePixels},
                   [this](const Tensor& tile) { return decode(tile); });
}

}  // namespace t2v::models::vae
