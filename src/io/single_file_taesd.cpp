// SPDX-License-Identifier: Apache-2.0
// TAESD in one file: diffusers' names, or the decoder alone as its makers publish it (taesd_decoder.safetensors and
// .pth: a list of layers that begins with one more, without weights, than diffusers' list).
#include <string>
#include <utility>
#include <vector>

#include "io/ldm_names.hpp"
#include "io/single_file.hpp"
#include "t2v/error.hpp"

namespace t2v::io {

namespace {

constexpr int64_t kMaxLevels = 12;

std::string numbered(int64_t index, std::string_view rest) { return std::to_string(index) + std::string(rest); }

/// Consecutive blocks from `index` on, which is advanced past them.
int64_t count_blocks(const TensorsBelow& layers, int64_t& index) {
  int64_t count = 0;
  for (; layers.has(numbered(index, ".conv.0.weight")); ++index) ++count;
  return count;
}

[[noreturn]] void bad(const TensorsBelow& layers, int64_t index) {
  throw Error(ErrorCode::bad_input, "bad checkpoint: " + layers.file()->where() + ": wanted a tensor " +
                                        layers.prefix() + numbered(index, ".weight") + ", got none");
}

/// Blocks of each level and the shapes of the ends. `first`: where the first convolution stands.
Json decoder_config(const TensorsBelow& layers, int64_t first) {
  std::vector<int64_t> blocks;
  int64_t index = first + 2, last = 0;  // an activation follows the first convolution
  while (last == 0) {
    blocks.push_back(count_blocks(layers, index));
    if (layers.has(numbered(index, ".weight"))) {
      last = index;
    } else if (static_cast<int64_t>(blocks.size()) < kMaxLevels && layers.has(numbered(index + 1, ".weight"))) {
      index += 2;  // a doubling and its convolution
    } else {
      bad(layers, index);
    }
  }
  const int64_t channels = layers.size(numbered(first, ".weight"), 0);
  return {{"latent_channels", layers.size(numbered(first, ".weight"), 1)},
          {"out_channels", layers.size(numbered(last, ".weight"), 0)},
          {"num_decoder_blocks", blocks},
          {"decoder_block_out_channels", std::vector<int64_t>(blocks.size(), channels)}};
}

Json encoder_config(const TensorsBelow& layers) {
  std::vector<int64_t> blocks;
  int64_t index = 0;
  // Only the first and the last convolution have a bias, and the last has no blocks behind it.
  while (static_cast<int64_t>(blocks.size()) <= kMaxLevels && layers.has(numbered(index, ".weight")) &&
         (index == 0 || !layers.has(numbered(index, ".bias")))) {
    ++index;
    blocks.push_back(count_blocks(layers, index));
  }
  if (blocks.empty() || !layers.has(numbered(index, ".weight"))) bad(layers, index);
  return {{"in_channels", layers.size("0.weight", 1)},
          {"num_encoder_blocks", blocks},
          {"encoder_block_out_channels", std::vector<int64_t>(blocks.size(), layers.size("0.weight", 0))}};
}

}  // namespace

bool is_taesd_decoder(const TensorFile& file) {
  const auto& tensors = file.tensors();
  return tensors.contains("1.weight") && tensors.contains("3.conv.0.weight") && !tensors.contains("0.weight");
}

bool is_taesd_file(const TensorFile& file) {
  return file.tensors().contains("decoder.layers.0.weight") && file.tensors().contains("encoder.layers.0.weight");
}

Component taesd_component(const std::shared_ptr<const TensorFile>& file) {
  Json config;
  TensorNames names;
  if (is_taesd_decoder(*file)) {
    config = decoder_config(TensorsBelow(file, ""), 1);
    config["decoder_only"] = true;
    config["encoder_block_out_channels"] = config["decoder_block_out_channels"];
    config["num_encoder_blocks"] = config["num_decoder_blocks"];
    for (const auto& [name, view] : file->tensors()) {
      std::string_view rest = name;
      const auto index = take_index(rest);
      show_as(names, *file,
              index && *index > 0 ? "decoder.layers." + numbered(*index - 1, ".") + std::string(rest) : name, {name});
    }
  } else {
    config = decoder_config(TensorsBelow(file, "decoder.layers."), 0);
    config.update(encoder_config(TensorsBelow(file, "encoder.layers.")));
    for (const auto& [name, view] : file->tensors()) show_as(names, *file, name, {name});
  }
  config["_class_name"] = "AutoencoderTiny";
  return component_in_file("vae", "AutoencoderTiny", std::move(config), show_tensors(file, names));
}

}  // namespace t2v::io
