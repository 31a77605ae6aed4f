// SPDX-License-Identifier: Apache-2.0
#include "nn/resnet.hpp"

#include <ATen/ops/cat.h>

#include "tensor/operators.hpp"

namespace t2v::nn {

namespace {

Conv2dOptions conv3x3(int64_t in_channels, int64_t out_channels) {
  return {.in_channels = in_channels, .out_channels = out_channels, .kernel = {3, 3}, .padding = {1, 1}};
}

}  // namespace

ResnetBlock2D::ResnetBlock2D(const Weights& w, const ResnetOptions& o)
    : norm1(w.at("norm1"), o.groups, o.in_channels, o.eps),
      conv1(w.at("conv1"), conv3x3(o.in_channels, o.out_channels)),
      norm2(w.at("norm2"), o.groups, o.out_channels, o.eps),
      conv2(w.at("conv2"), conv3x3(o.out_channels, o.out_channels)),
      activation(o.activation),
      output_scale_factor(o.output_scale_factor) {
  if (o.temb_channels) {
    time_emb_proj.emplace(w.at("time_emb_proj"), *o.temb_channels, o.out_channels);
    conv1.move_bias_to(*time_emb_proj->bias);
  }
  if (o.in_channels != o.out_channels) {
    conv_shortcut.emplace(w.at("conv_shortcut"),
                          Conv2dOptions{.in_channels = o.in_channels, .out_channels = o.out_channels});
    conv_shortcut->move_bias_to(conv2.bias);
  }
}

Tensor ResnetBlock2D::forward(const Tensor& x, const std::optional<Tensor>& temb,
                              const std::optional<Tensor>& beside) const {
  // A memory probe goes this way too, for the device that will.
  if (beside && !conv1.is_packed) return forward(at::cat({x, *beside}, 1), temb);
  std::optional<Tensor> shift;  // [B, C']
  if (temb && time_emb_proj) shift = time_emb_proj->forward(activation(*temb));
  const bool in_norm = norm_adds_shift(x);
  Tensor h = conv1.forward(norm1.forward_activated(x, activation, {.beside = beside}),
                           {.shift = in_norm ? std::nullopt : shift, .leaves_bias = in_norm});
  h = norm2.forward_activated(h, activation, {.shift = in_norm ? conv1.with_bias(shift) : std::nullopt});
  Tensor out;
  if (conv_shortcut) {
    out = conv_shortcut->forward(x, {.beside = beside});
    conv2.accumulate(out, h);
  } else {
    out = conv2.forward(h, {.residual = x});
  }
  return output_scale_factor == 1.0 ? out : out.div_(output_scale_factor);
}

}  // namespace t2v::nn
