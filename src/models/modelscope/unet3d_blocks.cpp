// SPDX-License-Identifier: Apache-2.0
#include "models/modelscope/unet3d_blocks.hpp"

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
      temporal(block.at("temp_attentions").at(index),
               {.in_channels = channels, .heads = channels / o.head_dim, .head_dim = o.head_dim, .groups = o.groups}) {}

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

Tensor Layer::forward(const Tensor& x, const Conditioning& given, const std::optional<Tensor>& beside) const {
  const Tensor h = temp_conv.forward(resnet.forward(x, given.temb, beside), given.frames);
  return attention ? attention->forward(h, given) : h;
}

MidBlock3D::MidBlock3D(const Weights& w, int64_t channels, const BlockOptions& shared)
    : first(w, 0, channels, channels, /*has_attention=*/false, shared),
      attention(w, 0, channels, shared),
      second(w, 1, channels, channels, /*has_attention=*/false, shared) {}

Tensor MidBlock3D::forward(const Tensor& x, const Conditioning& given) const {
  return second.forward(attention.forward(first.forward(x, given), given), given);
}

}  // namespace t2v::models::modelscope
