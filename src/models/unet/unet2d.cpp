// SPDX-License-Identifier: Apache-2.0
#include "models/unet/unet2d.hpp"

#include <utility>

#include "core/check.hpp"

namespace t2v::models::unet {

namespace {

int64_t time_embed_dim(const UNet2DConfig& c) { return 4 * c.block_out_channels[0]; }

nn::Conv2dOptions conv3x3(int64_t in_channels, int64_t out_channels) {
  return {.in_channels = in_channels, .out_channels = out_channels, .kernel = {3, 3}, .padding = {1, 1}};
}

nn::ResnetOptions resnet_options(const UNet2DConfig& c, int64_t in_channels, int64_t out_channels) {
  return {.in_channels = in_channels,
          .out_channels = out_channels,
          .temb_channels = time_embed_dim(c),
          .groups = c.norm_num_groups,
          .eps = c.norm_eps,
          .activation = nn::activation(c.act_fn, "act_fn")};
}

// upcast_attention of some configs changes nothing: every attention here keeps its logits in fp32, as PyTorch's fused
// attention, which diffusers calls, does.
nn::Transformer2DOptions attention_options(const UNet2DConfig& c, size_t level) {
  const int64_t channels = c.block_out_channels[level];
  return {.in_channels = channels,
          .heads = c.heads[level],
          .head_dim = channels / c.heads[level],
          .layers = c.transformer_layers[level],
          .groups = c.norm_num_groups,
          .cross_attention_dim = c.cross_attention_dim[level]};
}

nn::TransformerTemporalOptions motion_options(const UNet2DConfig& c, size_t level, int64_t depth) {
  const int64_t channels = c.block_out_channels[level];
  const MotionConfig& motion = *c.motion;
  return {.in_channels = channels,
          .heads = motion.heads[level],
          .head_dim = channels / motion.heads[level],
          .layers = depth,
          .groups = c.norm_num_groups,
          .max_frames = motion.max_frames};
}

/// `w` and `motion` are the same block in the two places weights may lie.
ImageLayer make_layer(const UNet2DConfig& c, size_t level, bool has_attention, const Weights& w, const Weights& motion,
                      const LayerChannels& channels) {
  ImageLayer layer{
      nn::ResnetBlock2D(w.at("resnets").at(channels.index), resnet_options(c, channels.in, channels.out)), {}, {}};
  if (has_attention) layer.attention.emplace(w.at("attentions").at(channels.index), attention_options(c, level));
  if (c.motion) {
    layer.motion.emplace(motion.at("motion_modules").at(channels.index),
                         motion_options(c, level, c.motion->depth[level]));
  }
  return layer;
}

std::vector<DownBlock<ImageLayer>> down_blocks(const UNet2DConfig& c, const Weights& w, const Weights& motion) {
  return make_down_blocks<ImageLayer>(
      w.at("down_blocks"), c.block_out_channels, c.layers_per_block, c.downsample_padding,
      [&](size_t level, const Weights& block, const LayerChannels& channels) {
        return make_layer(c, level, c.down_attention[level], block,
                          motion.at("down_blocks").at(static_cast<int64_t>(level)), channels);
      });
}

std::vector<UpBlock<ImageLayer>> up_blocks(const UNet2DConfig& c, const Weights& w, const Weights& motion) {
  return make_up_blocks<ImageLayer>(w.at("up_blocks"), c.block_out_channels, c.layers_per_block,
                                    [&](size_t level, const Weights& block, const LayerChannels& channels) {
                                      const size_t from_below = c.block_out_channels.size() - 1 - level;
                                      return make_layer(c, level, c.up_attention[from_below], block,
                                                        motion.at("up_blocks").at(static_cast<int64_t>(from_below)),
                                                        channels);
                                    });
}

ImageMiddle middle(const UNet2DConfig& c, const Weights& w, const Weights& motion) {
  const size_t level = c.block_out_channels.size() - 1;
  nn::ResnetOptions resnet = resnet_options(c, c.block_out_channels[level], c.block_out_channels[level]);
  resnet.output_scale_factor = c.mid_block_scale_factor;
  ImageMiddle block{{nn::ResnetBlock2D(w.at("resnets.0"), resnet), {}, {}},
                    nn::ResnetBlock2D(w.at("resnets.1"), resnet)};
  block.first.attention.emplace(w.at("attentions.0"), attention_options(c, level));
  if (c.motion && c.motion->use_mid_block) {
    block.first.motion.emplace(motion.at("motion_modules.0"), motion_options(c, level, c.motion->mid_depth));
  }
  return block;
}

}  // namespace

Tensor ImageLayer::forward(const Tensor& x, const Conditioning& given, const std::optional<Tensor>& beside) const {
  Tensor h = resnet.forward(x, given.temb, beside);
  if (attention) h = attention->forward(h, given.text);
  return motion ? motion->forward(h, given.frames) : h;
}

Tensor ImageMiddle::forward(const Tensor& x, const Conditioning& given) const {
  return second.forward(first.forward(x, given), given.temb);
}

UNet2DConditionModel::UNet2DConditionModel(const UNet2DConfig& c, const Weights& w, const Weights& motion)
    : config_(c),
      conv_in_(w.at("conv_in"), conv3x3(c.in_channels, c.block_out_channels[0])),
      time_embedding_(w.at("time_embedding"), {.in_channels = c.block_out_channels[0],
                                               .time_embed_dim = time_embed_dim(c),
                                               .activation = nn::activation(c.act_fn, "act_fn"),
                                               .cond_proj_dim = c.time_cond_proj_dim}),
      down_blocks_(down_blocks(c, w, motion)),
      mid_block_(middle(c, w.at("mid_block"), motion.at("mid_block"))),
      up_blocks_(up_blocks(c, w, motion)),
      conv_norm_out_(w.at("conv_norm_out"), c.norm_num_groups, c.block_out_channels[0], c.norm_eps),
      conv_out_(w.at("conv_out"), conv3x3(c.block_out_channels[0], c.out_channels)),
      // UNetMotionModel's last activation is SiLU whatever its config says.
      out_activation_(nn::activation(c.motion ? "silu" : c.act_fn, "act_fn")) {}

Tensor UNet2DConditionModel::embed_time(std::span<const double> timesteps,
                                        const std::optional<Tensor>& timestep_cond) const {
  const Tensor sinusoids = nn::timesteps(timesteps,
                                         {.channels = config_.block_out_channels[0],
                                          .flip_sin_to_cos = config_.flip_sin_to_cos,
                                          .downscale_freq_shift = config_.freq_shift},
                                         conv_in_.weight.device());
  return time_embedding_.forward(sinusoids.to(conv_in_.weight.scalar_type()), timestep_cond);  // [B, T]
}

Tensor UNet2DConditionModel::denoise(const Tensor& sample, const Conditioning& given, DeepFeature* deep) const {
  const int64_t frames = given.frames;
  // [B, C, F, H, W] -> [B*F, C, H, W], channels-last: frame f of video b is image b*F + f
  Tensor x = sample.transpose(1, 2).flatten(0, 1).contiguous(at::MemoryFormat::ChannelsLast);
  x = conv_in_.forward(x);
  x = run_body(std::move(x), given, down_blocks_, mid_block_, up_blocks_, deep);
  x = conv_out_.forward(conv_norm_out_.forward_activated(x, out_activation_));
  return x.unflatten(0, {sample.size(0), frames}).transpose(1, 2);
}

Tensor UNet2DConditionModel::forward(const Tensor& sample, const Tensor& time, const Tensor& encoder_hidden_states,
                                     const CallOptions& call) const {
  T2V_CHECK(!config_.motion || sample.size(2) <= config_.motion->max_frames,
            "more frames than motion modules have positions");
  return call.run({sample, time, encoder_hidden_states}, [this, deep = call.deep](const std::vector<Tensor>& in) {
    return denoise(in[0], {in[1], in[2], in[0].size(2)}, deep);
  });
}

Tensor UNet2DConditionModel::forward(const Tensor& sample, std::span<const double> timesteps,
                                     const Tensor& encoder_hidden_states, const std::optional<Tensor>& timestep_cond,
                                     const CallOptions& call) const {
  return forward(sample, embed_time(timesteps, timestep_cond), encoder_hidden_states, call);
}

Tensor UNet2DConditionModel::forward(const Tensor& sample, double timestep, const Tensor& encoder_hidden_states,
                                     const std::optional<Tensor>& timestep_cond, const CallOptions& call) const {
  return forward(sample, std::vector<double>(static_cast<size_t>(sample.size(0)), timestep), encoder_hidden_states,
                 timestep_cond, call);
}

}  // namespace t2v::models::unet
