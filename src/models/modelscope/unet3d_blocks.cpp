// SPDX-License-Identifier: Apache-2.0
#include "models/modelscope/unet3d_blocks.hpp"

#include <array>

#include <ATen/ops/cat.h>

namespace t2v::models::modelscope {

namespace {

nn::ResnetOptions resnet_options(int64_t in_channels, int64_t out_channels, const BlockOptions& o) {
  return {.in_channels = in_channels,
          .out_channels = out_channels,
          .temb_channels = o.temb_channels,
          .groups = o.groups,
          .eps = o.eps,
          .activation = o.activation,
          .output_scale_factor = o.output_scale_factor};
}

}  // namespace

AttentionPair::AttentionPair(const Weights& block, int64_t index, int64_t channels, const BlockOptions& o)
    : spatial(block.at("attentions").at(index), {.in_channels = channels,
                                                 .heads = channels / o.head_dim,
                                                 .head_dim = o.head_dim,
                                                 .groups = o.groups,
                                                 .cross_attention_dim = o.cross_attention_dim}),
      temporal(block.at("temp_attentions").at(index), {.in_channels = channels,
                                                       .heads = channels / o.head_dim,
                                                       .head_dim = o.head_dim,
                                                       .groups = o.groups}) {}

Tensor AttentionPair::forward(const Tensor& x, const Conditioning& given) const {
  return temporal.forward(spatial.forward(x, given.text), given.frames);
}

Layer::Layer(const Weights& block, int64_t index, int64_t in_channels, int64_t out_channels, bool has_attention,
             const BlockOptions& o)
    : resnet(block.at("resnets").at(index), resnet_options(in_channels, out_channels, o)),
      temp_conv(block.at("temp_convs").at(index), out_channels, o.groups) {
  if (has_attention) {
    attention.emplace(block, index, out_channels, o);
  }
}

Tensor Layer::forward(const Tensor& x, const Conditioning& given) const {
  const Tensor h = temp_conv.forward(resnet.forward(x, given.temb), given.frames);
  return attention ? attention->forward(h, given) : h;
}

DownBlock3D::DownBlock3D(const Weights& w, const Options& o, const BlockOptions& shared) {
  for (int64_t i = 0; i < o.layers; ++i) {
    layers.emplace_back(w, i, i == 0 ? o.in_channels : o.out_channels, o.out_channels, o.has_attention, shared);
  }
  if (o.downsample_padding) {
    downsampler.emplace(w.at("downsamplers.0"),
                        nn::DownsampleOptions{.channels = o.out_channels, .padding = *o.downsample_padding});
  }
}

Tensor DownBlock3D::forward(Tensor x, const Conditioning& given, std::vector<Tensor>& skips) const {
  for (const Layer& layer : layers) {
    x = layer.forward(x, given);
    skips.push_back(x);
  }
  if (downsampler) {
    x = downsampler->forward(x);
    skips.push_back(x);
  }
  return x;
}

MidBlock3D::MidBlock3D(const Weights& w, int64_t channels, const BlockOptions& shared)
    : first(w, 0, channels, channels, /*has_attention=*/false, shared),
      attention(w, 0, channels, shared),
      second(w, 1, channels, channels, /*has_attention=*/false, shared) {}

Tensor MidBlock3D::forward(const Tensor& x, const Conditioning& given) const {
  return second.forward(attention.forward(first.forward(x, given), given), given);
}

UpBlock3D::UpBlock3D(const Weights& w, const Options& o, const BlockOptions& shared) {
  for (int64_t i = 0; i < o.layers; ++i) {
    const int64_t arriving = i == 0 ? o.prev_channels : o.out_channels;
    const int64_t skip = i == o.layers - 1 ? o.in_channels : o.out_channels;
    layers.emplace_back(w, i, arriving + skip, o.out_channels, o.has_attention, shared);
  }
  if (o.upsamples) {
    upsampler.emplace(w.at("upsamplers.0"), o.out_channels);
  }
}

Tensor UpBlock3D::forward(Tensor x, const Conditioning& given, std::vector<Tensor>& skips,
                          bool match_next_skip) const {
  for (const Layer& layer : layers) {
    x = at::cat({x, skips.back()}, 1);
    skips.pop_back();
    x = layer.forward(x, given);
  }
  if (!upsampler) {
    return x;
  }
  if (!match_next_skip) {
    return upsampler->forward(x);
  }
  return upsampler->forward(x, std::array{skips.back().size(2), skips.back().size(3)});
}

}  // namespace t2v::models::modelscope
