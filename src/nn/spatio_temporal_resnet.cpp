// SPDX-License-Identifier: Apache-2.0
#include "nn/spatio_temporal_resnet.hpp"

#include <cmath>

#include <ATen/ops/silu.h>

#include "nn/layout.hpp"

namespace t2v::nn {

namespace {

/// A 3-D convolution of size 3 x 1 x 1 as a 2-D one over rows of pixels: ATen's conv3d takes a slow path on a CPU.
Conv2dOptions along_time(int64_t channels) {
  return {.in_channels = channels, .out_channels = channels, .kernel = {3, 1}, .padding = {1, 0}, .stored_as_3d = true};
}

}  // namespace

double mix_share(const Weights& time_mixer) {
  const Tensor factor = time_mixer.take("mix_factor", {1});
  if (factor.is_meta()) {
    return 0.5;
  }
  return 1.0 / (1.0 + std::exp(-factor.item<double>()));
}

TemporalResnetBlock::TemporalResnetBlock(const Weights& w, const Options& o)
    : norm1(w.at("norm1"), o.groups, o.channels, o.eps),
      conv1(w.at("conv1"), along_time(o.channels)),
      norm2(w.at("norm2"), o.groups, o.channels, o.eps),
      conv2(w.at("conv2"), along_time(o.channels)) {
  if (o.temb_channels) {
    time_emb_proj.emplace(w.at("time_emb_proj"), *o.temb_channels, o.channels);
    conv1.move_bias_to(*time_emb_proj->bias);
  }
}

Tensor TemporalResnetBlock::residual(const Tensor& x, const std::optional<Tensor>& temb, int64_t frames) const {
  std::optional<Tensor> shift;  // [B, C]
  if (temb && time_emb_proj) shift = time_emb_proj->forward(at::silu(*temb));
  const bool in_norm = norm_adds_shift(x);
  const Tensor h = conv1.forward(norm1.forward_silu(frames_as_rows(x, frames)),
                                 {.shift = in_norm ? std::nullopt : shift, .leaves_bias = in_norm});  // [B, C, F, H*W]
  const NormExtras extras{.shift = in_norm ? conv1.with_bias(shift) : std::nullopt};
  return rows_as_frames(conv2.forward(norm2.forward_activated(h, at::silu, extras), {.leaves_bias = true}), x);
}

SpatioTemporalResBlock::SpatioTemporalResBlock(const Weights& w, const SpatioTemporalResnetOptions& o)
    : spatial(w.at("spatial_res_block"), o.spatial),
      temporal(w.at("temporal_res_block"), {.channels = o.spatial.out_channels,
                                            .temb_channels = o.spatial.temb_channels,
                                            .groups = o.spatial.groups,
                                            .eps = o.temporal_eps}) {
  const double share = mix_share(w.at("time_mixer"));
  temporal_share = o.switches_mix ? share : 1.0 - share;
}

Tensor SpatioTemporalResBlock::forward(const Tensor& x, const std::optional<Tensor>& temb, int64_t frames,
                                       const std::optional<Tensor>& beside) const {
  Tensor h = spatial.forward(x, temb, beside);
  // a s + (1 - a) (s + r) = s + (1 - a) r
  temporal.conv2.add_to(h, temporal.residual(h, temb, frames), temporal_share);
  return h;
}

}  // namespace t2v::nn
