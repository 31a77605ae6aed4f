// SPDX-License-Identifier: Apache-2.0
#include "models/modelscope/unet3d.hpp"

#include <utility>

#include "nn/activation.hpp"

namespace t2v::models::modelscope {

namespace {

constexpr int64_t kTransformerInHeads = 8;

int64_t time_embed_dim(const UNet3DConfig& c) { return 4 * c.block_out_channels[0]; }

nn::Conv2dOptions conv3x3(int64_t in_channels, int64_t out_channels) {
  return {.in_channels = in_channels, .out_channels = out_channels, .kernel = {3, 3}, .padding = {1, 1}};
}

BlockOptions block_options(const UNet3DConfig& c) {
  return {.temb_channels = time_embed_dim(c),
          .groups = c.norm_num_groups,
          .eps = c.norm_eps,
          .activation = nn::activation(c.act_fn, "act_fn"),
          .head_dim = c.attention_head_dim,
          .cross_attention_dim = c.cross_attention_dim};
}

BlockOptions mid_block_options(const UNet3DConfig& c) {
  BlockOptions options = block_options(c);
  options.output_scale_factor = c.mid_block_scale_factor;
  return options;
}

std::vector<int64_t> layer_counts(const UNet3DConfig& c) {
  return std::vector<int64_t>(c.block_out_channels.size(), c.layers_per_block);
}

std::vector<DownBlock3D> down_blocks(const UNet3DConfig& c, const Weights& w) {
  const BlockOptions options = block_options(c);
  return unet::make_down_blocks<Layer>(w, c.block_out_channels, layer_counts(c), c.downsample_padding,
                                       [&](size_t level, const Weights& block, const unet::LayerChannels& layer) {
                                         const bool has_attention = c.down_block_types[level] == "CrossAttnDownBlock3D";
                                         return Layer(block, layer.index, layer.in, layer.out, has_attention, options);
                                       });
}

std::vector<UpBlock3D> up_blocks(const UNet3DConfig& c, const Weights& w) {
  const BlockOptions options = block_options(c);
  return unet::make_up_blocks<Layer>(w, c.block_out_channels, layer_counts(c),
                                     [&](size_t level, const Weights& block, const unet::LayerChannels& layer) {
                                       const size_t from_below = c.block_out_channels.size() - 1 - level;
                                       const bool has_attention = c.up_block_types[from_below] == "CrossAttnUpBlock3D";
                                       return Layer(block, layer.index, layer.in, layer.out, has_attention, options);
                                     });
}

}  // namespace

UNet3DConditionModel::UNet3DConditionModel(const UNet3DConfig& c, const Weights& w)
    : config_(c),
      conv_in_(w.at("conv_in"), conv3x3(c.in_channels, c.block_out_channels[0])),
      time_embedding_(w.at("time_embedding"), {.in_channels = c.block_out_channels[0],
                                               .time_embed_dim = time_embed_dim(c),
                                               .activation = nn::activation(c.act_fn, "act_fn"),
                                               .cond_proj_dim = c.time_cond_proj_dim}),
      transformer_in_(w.at("transformer_in"), {.in_channels = c.block_out_channels[0],
                                               .heads = kTransformerInHeads,
                                               .head_dim = c.attention_head_dim,
                                               .groups = c.norm_num_groups}),
      down_blocks_(down_blocks(c, w.at("down_blocks"))),
      mid_block_(w.at("mid_block"), c.block_out_channels.back(), mid_block_options(c)),
      up_blocks_(up_blocks(c, w.at("up_blocks"))),
      conv_norm_out_(w.at("conv_norm_out"), c.norm_num_groups, c.block_out_channels[0], c.norm_eps),
      conv_out_(w.at("conv_out"), conv3x3(c.block_out_channels[0], c.out_channels)) {}

Tensor UNet3DConditionModel::embed_time(std::span<const double> timesteps,
                                        const std::optional<Tensor>& timestep_cond) const {
  const Tensor sinusoids =
      nn::timesteps(timesteps, {.channels = config_.block_out_channels[0]}, conv_in_.weight.device());
  return time_embedding_.forward(sinusoids.to(conv_in_.weight.scalar_type()), timestep_cond);  // [B, T]
}

Tensor UNet3DConditionModel::denoise(const Tensor& sample, const Conditioning& given, unet::DeepFeature* deep) const {
  const int64_t frames = given.frames;
  // [B, C, F, H, W] -> [B*F, C, H, W], channels-last: frame f of video b is image b*F + f
  Tensor x = sample.transpose(1, 2).flatten(0, 1).contiguous(at::MemoryFormat::ChannelsLast);
  x = transformer_in_.forward(conv_in_.forward(x), frames);
  x = unet::run_body(std::move(x), given, down_blocks_, mid_block_, up_blocks_, deep);
  x = conv_out_.forward(conv_norm_out_.forward_silu(x));
  return x.unflatten(0, {sample.size(0), frames}).transpose(1, 2);
}

Tensor UNet3DConditionModel::forward(const Tensor& sample, const Tensor& time, const Tensor& encoder_hidden_states,
                                     const unet::CallOptions& call) const {
  return call.run({sample, time, encoder_hidden_states}, [this, deep = call.deep](const std::vector<Tensor>& in) {
    return denoise(in[0], {in[1], in[2], in[0].size(2)}, deep);
  });
}

Tensor UNet3DConditionModel::forward(const Tensor& sample, std::span<const double> timesteps,
                                     const Tensor& encoder_hidden_states, const std::optional<Tensor>& timestep_cond,
                                     const unet::CallOptions& call) const {
  return forward(sample, embed_time(timesteps, timestep_cond), encoder_hidden_states, call);
}

Tensor UNet3DConditionModel::forward(const Tensor& sample, double timestep, const Tensor& encoder_hidden_states,
                                     const unet::CallOptions& call) const {
  return forward(sample, std::vector<double>(static_cast<size_t>(sample.size(0)), timestep), encoder_hidden_states, {},
                 call);
}

}  // namespace t2v::models::modelscope
