// SPDX-License-Identifier: Apache-2.0
#include "models/svd/unet.hpp"

#include <array>
#include <string_view>
#include <utility>

#include <ATen/ops/silu.h>

#include "core/check.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::svd {

namespace {

// diffusers does not hand the configured eps on: its block classes differ in it.
constexpr double kDownEps = 1e-5, kCrossDownEps = 1e-6, kMidEps = 1e-5, kUpEps = 1e-6, kOutEps = 1e-5;

nn::Conv2dOptions conv3x3(int64_t in_channels, int64_t out_channels) {
  return {.in_channels = in_channels, .out_channels = out_channels, .kernel = {3, 3}, .padding = {1, 1}};
}

nn::TimestepEmbeddingOptions time_options(int64_t in_channels, const UNetSpatioTemporalConfig& c) {
  return {.in_channels = in_channels, .time_embed_dim = c.time_embed_dim(), .activation = at::silu};
}

/// `level` counts from the input's resolution downwards, for both halves of the network.
TransformerSpatioTemporalModel::Options attention_options(const UNetSpatioTemporalConfig& c, size_t level) {
  return {.in_channels = c.block_out_channels[level],
          .heads = c.num_attention_heads[level],
          .layers = c.transformer_layers_per_block[level],
          .cross_attention_dim = c.cross_attention_dim[level]};
}

BlockOptions block_options(const UNetSpatioTemporalConfig& c, size_t level, double eps, std::string_view type) {
  BlockOptions options{.temb_channels = c.time_embed_dim(), .eps = eps};
  if (type.starts_with("CrossAttn")) {
    options.attention = attention_options(c, level);
  }
  return options;
}

std::vector<DownBlock> down_blocks(const UNetSpatioTemporalConfig& c, const Weights& w) {
  constexpr int64_t kPadding = 1;
  return unet::make_down_blocks<Layer>(w, c.block_out_channels, c.layers_per_block, kPadding,
                                       [&](size_t level, const Weights& block, const unet::LayerChannels& layer) {
                                         const std::string& type = c.down_block_types[level];
                                         const double eps = type.starts_with("CrossAttn") ? kCrossDownEps : kDownEps;
                                         return Layer(block, layer.index, layer.in, layer.out,
                                                      block_options(c, level, eps, type));
                                       });
}

std::vector<UpBlock> up_blocks(const UNetSpatioTemporalConfig& c, const Weights& w) {
  return unet::make_up_blocks<Layer>(
      w, c.block_out_channels, c.layers_per_block,
      [&](size_t level, const Weights& block, const unet::LayerChannels& layer) {
        const std::string& type = c.up_block_types[c.block_out_channels.size() - 1 - level];
        return Layer(block, layer.index, layer.in, layer.out, block_options(c, level, kUpEps, type));
      });
}

}  // namespace

Layer::Layer(const Weights& block, int64_t index, int64_t in_channels, int64_t out_channels, const BlockOptions& o)
    : resnet(block.at("resnets").at(index), {.spatial = {.in_channels = in_channels,
                                                         .out_channels = out_channels,
                                                         .temb_channels = o.temb_channels,
                                                         .groups = kGroups,
                                                         .eps = o.eps,
                                                         .activation = at::silu},
                                             .temporal_eps = o.eps}) {
  if (o.attention) {
    attention.emplace(block.at("attentions").at(index), *o.attention);
  }
}

Tensor Layer::forward(const Tensor& x, const Conditioning& given, const std::optional<Tensor>& beside) const {
  const Tensor h = resnet.forward(x, given.temb, given.frames, beside);
  return attention ? attention->forward(h, given.token, given.frames) : h;
}

MidBlock::MidBlock(const Weights& w, int64_t channels, const BlockOptions& o)
    : first(w, 0, channels, channels, {.temb_channels = o.temb_channels, .eps = o.eps}),
      attention(w.at("attentions.0"), o.attention.value()),
      second(w, 1, channels, channels, {.temb_channels = o.temb_channels, .eps = o.eps}) {}

Tensor MidBlock::forward(const Tensor& x, const Conditioning& given) const {
  return second.forward(attention.forward(first.forward(x, given), given.token, given.frames), given);
}

UNetSpatioTemporalConditionModel::UNetSpatioTemporalConditionModel(const UNetSpatioTemporalConfig& c, const Weights& w)
    : config_(c),
      conv_in_(w.at("conv_in"), conv3x3(c.in_channels, c.block_out_channels[0])),
      time_embedding_(w.at("time_embedding"), time_options(c.block_out_channels[0], c)),
      add_embedding_(w.at("add_embedding"), time_options(c.projection_class_embeddings_input_dim, c)),
      down_blocks_(down_blocks(c, w.at("down_blocks"))),
      mid_block_(w.at("mid_block"), c.block_out_channels.back(),
                 block_options(c, c.block_out_channels.size() - 1, kMidEps, "CrossAttn")),
      up_blocks_(up_blocks(c, w.at("up_blocks"))),
      conv_norm_out_(w.at("conv_norm_out"), kGroups, c.block_out_channels[0], kOutEps),
      conv_out_(w.at("conv_out"), conv3x3(c.block_out_channels[0], c.out_channels)) {}

int64_t UNetSpatioTemporalConditionModel::folded_elements() const {
  int64_t sum = 0;
  const auto add = [&](const TransformerSpatioTemporalModel& model) {
    for (const auto& block : model.transformer_blocks) sum += block.attn2.folded_elements();
    for (const auto& block : model.temporal_transformer_blocks) sum += block.attn2.folded_elements();
  };
  const auto add_layers = [&](const auto& blocks) {
    for (const auto& block : blocks) {
      for (const Layer& layer : block.layers) {
        if (layer.attention) add(*layer.attention);
      }
    }
  };
  add_layers(down_blocks_);
  add(mid_block_.attention);
  add_layers(up_blocks_);
  return sum;
}

Tensor UNetSpatioTemporalConditionModel::embed(double timestep, std::span<const double> added_time_ids) const {
  const auto device = conv_in_.weight.device();
  const auto dtype = time_embedding_.linear_1.weight.scalar_type();
  const Tensor time = nn::timesteps(std::array{timestep}, {.channels = config_.block_out_channels[0]}, device);
  const Tensor added = nn::timesteps(added_time_ids, {.channels = config_.addition_time_embed_dim}, device)
                           .reshape({-1, config_.projection_class_embeddings_input_dim});
  return time_embedding_.forward(time.to(dtype)) + add_embedding_.forward(added.to(dtype));
}

Tensor UNetSpatioTemporalConditionModel::forward(const Tensor& sample, const Tensor& time,
                                                 const Tensor& encoder_hidden_states,
                                                 const unet::CallOptions& call) const {
  T2V_CHECK(encoder_hidden_states.size(1) == 1, "attention to one image token is folded at load");
  return call.run({sample, time, encoder_hidden_states}, [this, deep = call.deep](const std::vector<Tensor>& in) {
    return denoise(in[0], {in[1], in[2], in[0].size(1)}, deep);
  });
}

Tensor UNetSpatioTemporalConditionModel::forward(const Tensor& sample, double timestep,
                                                 const Tensor& encoder_hidden_states,
                                                 std::span<const double> added_time_ids,
                                                 const unet::CallOptions& call) const {
  T2V_CHECK(static_cast<int64_t>(added_time_ids.size()) == sample.size(0) * config_.added_ids(),
            "one row of ids a video");
  return forward(sample, embed(timestep, added_time_ids), encoder_hidden_states, call);
}

Tensor UNetSpatioTemporalConditionModel::denoise(const Tensor& sample, const Conditioning& given,
                                                 unet::DeepFeature* deep) const {
  // [B, F, C, H, W] -> [B*F, C, H, W], channels-last: frame f of video b is image b*F + f
  Tensor x = conv_in_.forward(sample.flatten(0, 1).contiguous(at::MemoryFormat::ChannelsLast));
  x = unet::run_body(std::move(x), given, down_blocks_, mid_block_, up_blocks_, deep);
  x = conv_out_.forward(conv_norm_out_.forward_silu(x));
  return x.unflatten(0, {sample.size(0), given.frames});
}

}  // namespace t2v::models::svd
