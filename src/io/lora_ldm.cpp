// SPDX-License-Identifier: Apache-2.0
// Modules of a UNet in the names of latent diffusion's first code, as kohya's and A1111's files flatten them:
// "output_blocks_5_2_conv". What the blocks are called is io/ldm_names' knowledge.
#include <algorithm>
#include <array>
#include <optional>

#include "io/ldm_names.hpp"
#include "io/lora.hpp"

namespace t2v::io {

namespace {

constexpr std::array<std::string_view, 6> kHeads{"input_blocks", "middle_block", "output_blocks",
                                                 "time_embed",   "label_emb",    "out"};
/// Lists inside a residual block, whose last number is an index too.
constexpr std::array<std::string_view, 3> kLists{"in_layers", "emb_layers", "out_layers"};

/// Takes "_7" from the start of `text`, up to another '_' or the end.
std::optional<std::string_view> take_number(std::string_view& text) {
  constexpr size_t kMaxDigits = 4;  // of blocks and layers; names are a stranger's
  if (!text.starts_with('_')) return std::nullopt;
  const size_t end = std::min(text.find('_', 1), text.size());
  const std::string_view digits = text.substr(1, end - 1);
  const bool is_number = std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
  if (digits.empty() || digits.size() > kMaxDigits || !is_number) return std::nullopt;
  text.remove_prefix(end);
  return digits;
}

/// "input_blocks_1_0_in_layers_2" -> "input_blocks.1.0.in_layers.2". Dots that don't matter to block names stay '_'.
std::optional<std::string> dotted(std::string_view key) {
  for (const std::string_view head : kHeads) {
    std::string_view rest = key;
    if (!rest.starts_with(head)) continue;
    rest.remove_prefix(head.size());
    std::string name(head);
    while (const auto number = take_number(rest)) name.append(1, '.').append(*number);
    if (name == head) continue;
    if (rest.empty()) return name;
    rest.remove_prefix(1);
    for (const std::string_view list : kLists) {
      if (!rest.starts_with(list)) continue;
      std::string_view index = rest.substr(list.size());
      const auto number = take_number(index);
      if (number && index.empty()) return name.append(1, '.').append(list).append(1, '.').append(*number);
    }
    return name.append(1, '.').append(rest);
  }
  return std::nullopt;
}

}  // namespace

std::string key_of_ldm(std::string_view key, int64_t layers) {
  constexpr std::string_view kTensor = ".weight";
  const auto name = dotted(key);
  if (!name) return std::string(key);
  const std::string ours = ldm_unet_name(*name + std::string(kTensor), layers);
  return module_key(std::string_view(ours).substr(0, ours.size() - kTensor.size()));
}

}  // namespace t2v::io
