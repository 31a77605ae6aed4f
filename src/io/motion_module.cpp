// SPDX-License-Identifier: Apache-2.0
#include "io/motion_module.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "core/log.hpp"
#include "io/single_file.hpp"
#include "t2v/error.hpp"

namespace t2v::io {

namespace {

constexpr std::string_view kModules = ".motion_modules.";
constexpr int64_t kMaxBlocks = 12;

constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kParts{{{".temporal_transformer.", "."},
                                                                               {".attention_blocks.0.", ".attn1."},
                                                                               {".attention_blocks.1.", ".attn2."},
                                                                               {".norms.0.", ".norm1."},
                                                                               {".norms.1.", ".norm2."},
                                                                               {".ff_norm.", ".norm3."}}};

/// The frames that the positions of the first module reach, in either spelling.
int64_t sequence_length(const TensorFile& file) {
  constexpr int64_t kUsual = 32;
  for (const auto& [name, view] : file.tensors()) {
    const bool is_positions = name.ends_with("pos_encoder.pe") || name.ends_with("pos_embed.pe");
    if (is_positions && view.shape.size() == 3) return view.shape[1];
  }
  return kUsual;
}

Json config_of(const TensorFile& stored, const TensorsBelow& modules) {
  Json channels = Json::array(), layers = Json::array();
  for (int64_t i = 0; i <= kMaxBlocks; ++i) {
    const std::string block = "down_blocks." + std::to_string(i) + ".motion_modules.";
    const int64_t count = modules.count(block, ".norm.weight");
    if (count == 0) break;
    channels.push_back(modules.size(block + "0.norm.weight", 0));
    layers.push_back(count);
  }
  const int64_t depth = modules.count("down_blocks.0.motion_modules.0.transformer_blocks.", ".norm1.weight");
  return {{"_class_name", "MotionAdapter"},
          {"block_out_channels", channels},
          {"motion_layers_per_block", layers},
          {"motion_transformer_layers_per_block", std::max<int64_t>(1, depth)},
          {"motion_mid_block_layers_per_block", 1},
          {"motion_num_attention_heads", 8},
          {"motion_norm_num_groups", 32},
          {"motion_max_seq_length", sequence_length(stored)},
          {"use_motion_mid_block", modules.has("mid_block.motion_modules.0.norm.weight")}};
}

}  // namespace

bool is_motion_module(const TensorFile& file) {
  bool has_modules = false;
  for (const auto& [name, view] : file.tensors()) {
    if (name.find("lora") != std::string::npos) return false;  // a MotionLoRA names the modules too
    has_modules = has_modules ||
                  (name.find("down_blocks.0.motion_modules.0.") != std::string::npos && name.ends_with("norm.weight"));
  }
  return has_modules;
}

std::string motion_module_name(std::string_view stored) {
  if (stored.starts_with("module.")) stored.remove_prefix(7);
  if (stored.find(kModules) == stored.npos || stored.find(".pos_encoder.") != stored.npos) return {};
  std::string name(stored);
  for (const auto& [from, to] : kParts) {
    if (const size_t at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
  }
  return name;
}

Component motion_module_component(std::shared_ptr<const TensorFile> file) {
  const auto& tensors = file->tensors();
  if (const auto conv = tensors.find("conv_in.weight");
      conv != tensors.end() && conv->second.shape.size() == 4 && conv->second.shape[1] != 4) {
    throw Error(ErrorCode::unsupported,
                "unsupported motion module: " + file->where() +
                    ": wanted a plain motion module, got one with an input layer of its own (PIA)");
  }
  TensorNames names;
  size_t left_out = 0;
  for (const auto& [name, view] : tensors) {
    const std::string shown = motion_module_name(name);
    if (!shown.empty()) {
      show_as(names, *file, shown, {name});
    } else if (name.find(kModules) == std::string::npos) {
      ++left_out;
    }
  }
  if (left_out > 0) {
    log::warn("{}: {} tensors belong to no motion module and are left out", file->where(), left_out);
  }
  const auto shown = show_tensors(file, names);
  Json config = config_of(*file, TensorsBelow(shown, ""));
  return component_in_file("motion_adapter", "MotionAdapter", std::move(config), shown);
}

}  // namespace t2v::io
