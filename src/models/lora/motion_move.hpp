// SPDX-License-Identifier: Apache-2.0
// Which move of the camera a MotionLoRA (AnimateDiff, Guo et al. 2023, 4.3) makes. Its tensors don't say; the published
// files' names do: v2_lora_PanLeft.ckpt, animatediff-motion-lora-zoom-in, v2_lora_RollingAnticlockwise.ckpt.
#pragma once

#include <filesystem>
#include <string_view>

namespace t2v::models::lora {

/// A word of --camera, or nothing when the name says none. A file with a name that every model's has is called as its
/// folder.
std::string_view move_named_by(const std::filesystem::path& file);

/// Two words of --camera for one move: roll-cw is roll-right.
bool is_same_move(std::string_view a, std::string_view b);

}  // namespace t2v::models::lora
