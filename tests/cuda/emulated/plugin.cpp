// SPDX-License-Identifier: Apache-2.0
#include "emulated/plugin.hpp"

#include "cuda/kernels/frames_to_rgb8.hpp"
#include "cuda/kernels/layer_kernels.hpp"

namespace t2v::cuda {

namespace {

template <auto kLaunch, typename Job>
int run(int /*device*/, const Job& job) {
  return kLaunch(job, nullptr);
}

}  // namespace

const PluginApi& emulated_plugin() {
  static const PluginApi api = [] {
    PluginApi table{};
    table.abi = kPluginAbi;
    table.last_error = [] { return "refused by the emulated device"; };
    table.rgb_to_uint8 = &run<launch_frames_to_rgb8, RgbJob>;
    table.group_norm = &run<launch_group_norm, GroupNormJob>;
    table.frame_attention = &run<launch_frame_attention, FrameAttentionJob>;
    table.add_biased = &run<launch_add_biased, AddBiasedJob>;
    table.geglu = &run<launch_geglu, GegluJob>;
    table.layer_norm = &run<launch_layer_norm, LayerNormJob>;
    table.rgb_to_yuv420 = &run<launch_rgb_to_yuv420, YuvJob>;
    return table;
  }();
  return api;
}

}  // namespace t2v::cuda
