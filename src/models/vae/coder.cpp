// SPDX-License-Identifier: Apache-2.0
#include "models/vae/coder.hpp"

#include "nn/layout.hpp"

namespace t2v::models::vae {

namespace {

constexpr double kEps = 1e-6;  // of every GroupNorm here, whatever the UNet beside it uses

nn::Conv2dOptions conv3x3(int64_t in_channels, int64_t out_channels) {
  return {.in_channels = in_channels, .out_channels = out_channels, .kernel = {3, 3}, .padding = {1, 1}};
}

nn::ResnetOptions resnet_options(const AutoencoderKLConfig& c, int64_t in_channels, int64_t out_channels) {
  return {.in_channels = in_channels,
          .out_channels = out_channels,
          .groups = c.norm_num_groups,
          .eps = kEps,
          .activation = nn::activation(c.act_fn, "act_fn")};
}

std::vector<nn::ResnetBlock2D> resnets(const Weights& w, const AutoencoderKLConfig& c, int64_t count,
                                       int64_t in_channels, int64_t out_channels) {
  std::vector<nn::ResnetBlock2D> layers;
  for (int64_t i = 0; i < count; ++i) {
    layers.emplace_back(w.at("resnets").at(i), resnet_options(c, i == 0 ? in_channels : out_channels, out_channels));
  }
  return layers;
}

std::vector<Encoder::DownBlock> down_blocks(const Weights& w, const AutoencoderKLConfig& c) {
  const std::vector<int64_t>& channels = c.block_out_channels;
  std::vector<Encoder::DownBlock> blocks;
  for (size_t i = 0; i < channels.size(); ++i) {
    const Weights block = w.at(static_cast<int64_t>(i));
    blocks.push_back({resnets(block, c, c.layers_per_block, channels[i == 0 ? 0 : i - 1], channels[i]), {}});
    if (i + 1 < channels.size()) {
      blocks.back().downsampler.emplace(block.at("downsamplers.0"),
                                        nn::DownsampleOptions{.channels = channels[i], .padding = 0});
    }
  }
  return blocks;
}

std::vector<Decoder::UpBlock> up_blocks(const Weights& w, const AutoencoderKLConfig& c) {
  const std::vector<int64_t> channels(c.block_out_channels.rbegin(), c.block_out_channels.rend());
  std::vector<Decoder::UpBlock> blocks;
  for (size_t i = 0; i < channels.size(); ++i) {
    const Weights block = w.at(static_cast<int64_t>(i));
    blocks.push_back({resnets(block, c, c.layers_per_block + 1, channels[i == 0 ? 0 : i - 1], channels[i]), {}});
    if (i + 1 < channels.size()) {
      blocks.back().upsampler.emplace(block.at("upsamplers.0"), channels[i]);
    }
  }
  return blocks;
}

}  // namespace

PixelAttention::PixelAttention(const Weights& w, int64_t channels, int64_t groups)
    : group_norm(w.at("group_norm"), groups, channels, kEps),
      attention(w, {.width = channels, .heads = 1, .head_dim = channels, .has_bias = true}) {}

Tensor PixelAttention::forward(const Tensor& x) const {
  return nn::from_tokens(attention.forward(nn::to_tokens(group_norm.forward(x))), x).add_(x);
}

MidBlock2D::MidBlock2D(const Weights& w, const AutoencoderKLConfig& c)
    : first(w.at("resnets.0"), resnet_options(c, c.block_out_channels.back(), c.block_out_channels.back())),
      second(w.at("resnets.1"), resnet_options(c, c.block_out_channels.back(), c.block_out_channels.back())) {
  if (c.mid_block_add_attention) {
    attention.emplace(w.at("attentions.0"), c.block_out_channels.back(), c.norm_num_groups);
  }
}

Tensor MidBlock2D::forward(const Tensor& x) const {
  const Tensor h = first.forward(x);
  return second.forward(attention ? attention->forward(h) : h);
}

Encoder::Encoder(const Weights& w, const AutoencoderKLConfig& c)
    : conv_in(w.at("conv_in"), conv3x3(c.in_channels, c.block_out_channels.front())),
      down_blocks(vae::down_blocks(w.at("down_blocks"), c)),
      mid_block(w.at("mid_block"), c),
      conv_norm_out(w.at("conv_norm_out"), c.norm_num_groups, c.block_out_channels.back(), kEps),
      conv_out(w.at("conv_out"), conv3x3(c.block_out_channels.back(), 2 * c.latent_channels)) {}

Tensor Encoder::forward(const Tensor& images) const {
  Tensor x = conv_in.forward(images.contiguous(at::MemoryFormat::ChannelsLast));
  for (const DownBlock& block : down_blocks) {
    for (const auto& resnet : block.resnets) {
      x = resnet.forward(x);
    }
    if (block.downsampler) {
      x = block.downsampler->forward(x);
    }
  }
  return conv_out.forward(conv_norm_out.forward_silu(mid_block.forward(x)));
}

Decoder::Decoder(const Weights& w, const AutoencoderKLConfig& c)
    : conv_in(w.at("conv_in"), conv3x3(c.latent_channels, c.block_out_channels.back())),
      mid_block(w.at("mid_block"), c),
      up_blocks(vae::up_blocks(w.at("up_blocks"), c)),
      conv_norm_out(w.at("conv_norm_out"), c.norm_num_groups, c.block_out_channels.front(), kEps),
      conv_out(w.at("conv_out"), conv3x3(c.block_out_channels.front(), c.out_channels)) {}

Tensor Decoder::forward(const Tensor& latents) const {
  Tensor x = mid_block.forward(conv_in.forward(latents.contiguous(at::MemoryFormat::ChannelsLast)));
  for (const UpBlock& block : up_blocks) {
    for (const auto& resnet : block.resnets) {
      x = resnet.forward(x);
    }
    if (block.upsampler) {
      x = block.upsampler->forward(x);
    }
  }
  return conv_out.forward(conv_norm_out.forward_silu(x));
}

}  // namespace t2v::models::vae
