// SPDX-License-Identifier: Apache-2.0
// Tensor names of original latent-diffusion checkpoints (CompVis and Stability code: openaimodel.py, model.py,
// open_clip) in the spelling of diffusers and transformers. Pure functions of names: they see no tensor and trust none.
// The correspondence is the one of diffusers 0.42 loaders/single_file_utils.py. A name that a function does not know
// comes back as it was, so that a strict loader names it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/shown_tensors.hpp"

namespace t2v::io {

/// A module of an original UNet: "input_blocks.4.1.proj_in.weight" is {attention, "down_blocks.1.attentions.0",
/// "proj_in.weight"} where a level has two layers.
struct LdmModule {
  enum class Kind { plain, resnet, attention };  ///< plain: `path` and `leaf` are diffusers' already
  Kind kind = Kind::plain;
  std::string path, leaf;
};

/// `name` without "model.diffusion_model."; `layers` is layers_per_block.
std::optional<LdmModule> ldm_unet_module(std::string_view name, int64_t layers);
/// in_layers.0 -> norm1, emb_layers.1 -> time_emb_proj, ...
std::string ldm_resnet_leaf(std::string_view leaf);
/// The whole name, for UNets whose leaves are those of Stable Diffusion.
std::string ldm_unet_name(std::string_view name, int64_t layers);

/// `name` without "first_stage_model."; `levels` is the number of block_out_channels.
std::string ldm_vae_name(std::string_view name, int64_t levels);

/// One stored tensor of an OpenCLIP transformer block may be shown as three: in_proj holds q, k and v.
struct OpenClipName {
  std::string name;
  int64_t index = 0, count = 1;
};
/// "resblocks.3.mlp.c_fc.weight" -> "encoder.layers.3.mlp.fc1.weight". Empty for what is no tensor of a block.
std::vector<OpenClipName> openclip_block_names(std::string_view name);
/// Names of OpenCLIP's text tower, as CLIPTextModel has them without "text_model.".
std::vector<OpenClipName> openclip_text_names(std::string_view name);

/// A decimal number at the start of `text`, which is advanced past it and a following dot. Nothing for other text and
/// for numbers of more than four digits.
std::optional<int64_t> take_index(std::string_view& text);

}  // namespace t2v::io
