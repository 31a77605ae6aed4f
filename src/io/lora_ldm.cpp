// SPDX-License-Identifier: Apache-2.0
// The UNet of latent diffusion (CompVis, Stability) and diffusers' UNet2DConditionModel hold the same modules under
// different names (diffusers 0.42 scripts/convert_original_stable_diffusion_to_diffusers.py, convert_ldm_unet_checkpoint).
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>
#include <utility>

#include "io/lora.hpp"

namespace t2v::io {

namespace {

/// "down_blocks_1_attentions_0_proj_in" -> kind "down", 1, "attentions", 0, "proj_in"
struct Place {
  std::string_view side, part, rest;
  int64_t block = 0, index = 0;
};

std::optional<int64_t> take_number(std::string_view& text) {
  int64_t number = 0;
  constexpr int64_t kMost = 4096;  // of blocks and layers; names are a stranger's
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || number < 0 || number > kMost) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (!text.starts_with('_')) return std::nullopt;
  text.remove_prefix(1);
  return number;
}

std::optional<Place> place_of(std::string_view key) {
  Place place;
  for (const std::string_view side : {"down", "up", "mid"}) {
    if (key.starts_with(side)) place.side = side;
  }
  if (place.side.empty()) return std::nullopt;
  key.remove_prefix(place.side.size());
  const std::string_view blocks = place.side == "mid" ? "_block_" : "_blocks_";
  if (!key.starts_with(blocks)) return std::nullopt;
  key.remove_prefix(blocks.size());
  if (place.side != "mid") {
    const auto block = take_number(key);
    if (!block) return std::nullopt;
    place.block = *block;
  }
  for (const std::string_view part : {"resnets_", "attentions_", "downsamplers_", "upsamplers_"}) {
    if (key.starts_with(part)) place.part = part;
  }
  if (place.part.empty()) return std::nullopt;
  key.remove_prefix(place.part.size());
  const auto index = take_number(key);
  if (!index) return std::nullopt;
  place.index = *index;
  place.rest = key;
  return place;
}

constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kResnet{{{"norm1", "in_layers_0"},
                                                                                {"conv1", "in_layers_2"},
                                                                                {"time_emb_proj", "emb_layers_1"},
                                                                                {"norm2", "out_layers_0"},
                                                                                {"conv2", "out_layers_3"},
                                                                                {"conv_shortcut", "skip_connection"}}};
constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kOuter{{{"conv_in", "input_blocks_0_0"},
                                                                               {"time_embedding_linear_1", "time_embed_0"},
                                                                               {"time_embedding_linear_2", "time_embed_2"},
                                                                               {"add_embedding_linear_1", "label_emb_0_0"},
                                                                               {"add_embedding_linear_2", "label_emb_0_2"},
                                                                               {"conv_norm_out", "out_0"},
                                                                               {"conv_out", "out_2"}}};

std::string ldm_rest(const Place& place) {
  if (place.part != "resnets_") return std::string(place.rest);
  for (const auto& [ours, theirs] : kResnet) {
    if (place.rest == ours) return std::string(theirs);
  }
  return {};
}

struct Counts {
  int64_t down_layers = 0;                 // resnets in a block on the way down
  std::set<int64_t> up_blocks_attending;
};

std::string numbered(std::string_view name, int64_t a, int64_t b) {
  return std::string(name) + "_" + std::to_string(a) + "_" + std::to_string(b) + "_";
}

std::string ldm_key(const Place& place, const Counts& counts) {
  const std::string rest = ldm_rest(place);
  if (rest.empty()) return {};
  const bool is_attention = place.part == "attentions_";
  if (place.side == "mid") {  // resnet, attention, resnet
    const int64_t slot = is_attention ? 2 * place.index + 1 : 2 * place.index;
    return "middle_block_" + std::to_string(slot) + "_" + rest;
  }
  const int64_t stride = counts.down_layers + 1;  // the layers and the downsampler; on the way up one layer more
  if (place.side == "down") {
    if (place.part == "downsamplers_") return "input_blocks_" + std::to_string((place.block + 1) * stride) + "_0_op";
    return numbered("input_blocks", place.block * stride + place.index + 1, is_attention ? 1 : 0) + rest;
  }
  if (place.part == "upsamplers_") {
    const int64_t slot = counts.up_blocks_attending.contains(place.block) ? 2 : 1;
    return numbered("output_blocks", place.block * stride + stride - 1, slot) + "conv";
  }
  return numbered("output_blocks", place.block * stride + place.index, is_attention ? 1 : 0) + rest;
}

}  // namespace

std::map<std::string, std::string> ldm_keys(const std::vector<std::string>& keys) {
  Counts counts;
  std::vector<std::pair<Place, const std::string*>> places;
  std::map<std::string, std::string> found;
  for (const std::string& key : keys) {
    const auto outer = std::ranges::find(kOuter, key, [](const auto& row) { return std::string(row.first); });
    if (outer != kOuter.end()) found.emplace(outer->second, key);
    const auto place = place_of(key);
    if (!place) continue;
    places.emplace_back(*place, &key);
    if (place->side == "down" && place->part == "resnets_") {
      counts.down_layers = std::max(counts.down_layers, place->index + 1);
    }
    if (place->side == "up" && place->part == "attentions_") {
      counts.up_blocks_attending.insert(place->block);
    }
  }
  for (const auto& [place, key] : places) {
    if (auto name = ldm_key(place, counts); !name.empty()) found.emplace(std::move(name), *key);
  }
  return found;
}

}  // namespace t2v::io
