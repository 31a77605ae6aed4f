// SPDX-License-Identifier: Apache-2.0
// AnimateDiff motion modules in one file (mm_sd_v14.ckpt, mm_sd_v15_v2.ckpt, v3_sd15_mm.ckpt, AnimateLCM, AnimateDiff-
// Lightning): recognised by their names, shown in diffusers' spelling, config.json of a MotionAdapter derived from
// shapes.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "io/checkpoint.hpp"
#include "io/tensor_file.hpp"

namespace t2v::io {

/// Original and diffusers' spelling alike, also of the training code with its "module." before everything.
bool is_motion_module(const TensorFile& file);

/// diffusers 0.42 loaders/single_file_utils.py convert_animatediff_checkpoint_to_diffusers: temporal_transformer. goes,
/// attention_blocks.N -> attn(N+1), norms.N -> norm(N+1), ff_norm -> norm3; pos_encoder.pe is dropped, the network
/// computes it. Names in diffusers' spelling stay. Empty: a tensor that motion modules do not have.
std::string motion_module_name(std::string_view stored);

Component motion_module_component(std::shared_ptr<const TensorFile> file);

}  // namespace t2v::io
