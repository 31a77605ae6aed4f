// SPDX-License-Identifier: Apache-2.0
#include "io/ldm_names.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace t2v::io {

namespace {

using Pair = std::pair<std::string_view, std::string_view>;

bool take(std::string_view& text, std::string_view start) {
  if (!text.starts_with(start)) return false;
  text.remove_prefix(start.size());
  return true;
}

/// The name with the first matching prefix replaced.
template <size_t n>
std::optional<std::string> replaced_prefix(std::string_view name, const std::array<Pair, n>& pairs) {
  for (const auto& [from, to] : pairs) {
    if (name.starts_with(from)) return std::string(to) + std::string(name.substr(from.size()));
  }
  return std::nullopt;
}

constexpr std::array<Pair, 6> kUNetEnds{{{"time_embed.0.", "time_embedding.linear_1."},
                                         {"time_embed.2.", "time_embedding.linear_2."},
                                         {"label_emb.0.0.", "add_embedding.linear_1."},
                                         {"label_emb.0.2.", "add_embedding.linear_2."},
                                         {"out.0.", "conv_norm_out."},
                                         {"out.2.", "conv_out."}}};

constexpr std::array<Pair, 6> kResnetLeaves{{{"in_layers.0.", "norm1."},
                                             {"in_layers.2.", "conv1."},
                                             {"emb_layers.1.", "time_emb_proj."},
                                             {"out_layers.0.", "norm2."},
                                             {"out_layers.3.", "conv2."},
                                             {"skip_connection.", "conv_shortcut."}}};

std::string numbered(std::string_view stem, int64_t a, std::string_view between, int64_t b) {
  return std::string(stem) + std::to_string(a) + std::string(between) + std::to_string(b);
}

/// Sub-module 0 of an original block is the resnet, a later one attention or resampling.
LdmModule module_of(int64_t sub, int64_t block, int64_t layer, std::string_view stem, std::string_view leaf) {
  return sub == 0
             ? LdmModule{LdmModule::Kind::resnet, numbered(stem, block, ".resnets.", layer), std::string(leaf)}
             : LdmModule{LdmModule::Kind::attention, numbered(stem, block, ".attentions.", layer), std::string(leaf)};
}

LdmModule resampler(std::string_view stem, int64_t block, std::string_view which, std::string_view leaf) {
  return {LdmModule::Kind::plain, std::string(stem) + std::to_string(block) + "." + std::string(which) + ".0.conv",
          std::string(leaf)};
}

std::optional<LdmModule> input_block(std::string_view rest, int64_t layers) {
  const auto i = take_index(rest), sub = take_index(rest);
  if (!i || !sub) return std::nullopt;
  if (*i == 0) {
    if (*sub != 0) return std::nullopt;
    return LdmModule{LdmModule::Kind::plain, "conv_in", std::string(rest)};
  }
  const int64_t block = (*i - 1) / (layers + 1), layer = (*i - 1) % (layers + 1);
  if (layer < layers) return module_of(*sub, block, layer, "down_blocks.", rest);
  if (*sub != 0 || !take(rest, "op.")) return std::nullopt;
  return resampler("down_blocks.", block, "downsamplers", rest);
}

std::optional<LdmModule> middle_block(std::string_view rest) {
  const auto i = take_index(rest);
  if (!i) return std::nullopt;
  const bool is_resnet = *i % 2 == 0;  // resnet, attention, resnet
  return LdmModule{is_resnet ? LdmModule::Kind::resnet : LdmModule::Kind::attention,
                   (is_resnet ? "mid_block.resnets." : "mid_block.attentions.") + std::to_string(*i / 2),
                   std::string(rest)};
}

std::optional<LdmModule> output_block(std::string_view rest, int64_t layers) {
  const auto i = take_index(rest), sub = take_index(rest);
  if (!i || !sub) return std::nullopt;
  const int64_t block = *i / (layers + 1), layer = *i % (layers + 1);
  if (*sub > 0 && take(rest, "conv.")) return resampler("up_blocks.", block, "upsamplers", rest);
  return module_of(*sub, block, layer, "up_blocks.", rest);
}

constexpr std::array<Pair, 6> kVaeAttentionLeaves{{{"norm.", "group_norm."},
                                                   {"q.", "to_q."},
                                                   {"k.", "to_k."},
                                                   {"v.", "to_v."},
                                                   {"proj_out.", "to_out.0."},
                                                   {"proj.", "to_out.0."}}};

std::string vae_resnet_leaf(std::string_view leaf) {
  if (take(leaf, "nin_shortcut.")) return "conv_shortcut." + std::string(leaf);
  return std::string(leaf);
}

/// Inside encoder or decoder; nothing for names that are the same in both spellings or unknown.
std::optional<std::string> vae_half_name(std::string_view name, int64_t levels) {
  if (take(name, "norm_out.")) return "conv_norm_out." + std::string(name);
  if (take(name, "mid.block_")) {
    const auto i = take_index(name);
    if (!i || *i < 1) return std::nullopt;
    return "mid_block.resnets." + std::to_string(*i - 1) + "." + vae_resnet_leaf(name);
  }
  if (take(name, "mid.attn_1.")) {
    return "mid_block.attentions.0." + replaced_prefix(name, kVaeAttentionLeaves).value_or(std::string(name));
  }
  const bool is_down = take(name, "down.");
  if (!is_down && !take(name, "up.")) return std::nullopt;
  const auto level = take_index(name);
  if (!level || *level >= levels) return std::nullopt;
  const std::string block = is_down ? "down_blocks." + std::to_string(*level) + "."
                                    : "up_blocks." + std::to_string(levels - 1 - *level) + ".";  // counted from below
  if (take(name, is_down ? "downsample." : "upsample.")) {
    return block + (is_down ? "downsamplers.0." : "upsamplers.0.") + std::string(name);
  }
  if (!take(name, "block.")) return std::nullopt;
  const auto layer = take_index(name);
  if (!layer) return std::nullopt;
  return block + "resnets." + std::to_string(*layer) + "." + vae_resnet_leaf(name);
}

constexpr std::array<Pair, 5> kOpenClipLeaves{{{"ln_1.", "layer_norm1."},
                                               {"ln_2.", "layer_norm2."},
                                               {"attn.out_proj.", "self_attn.out_proj."},
                                               {"mlp.c_fc.", "mlp.fc1."},
                                               {"mlp.c_proj.", "mlp.fc2."}}};

}  // namespace

std::optional<int64_t> take_index(std::string_view& text) {
  constexpr size_t kMaxDigits = 4;
  int64_t value = 0;
  const char* begin = text.data();
  const auto [end, error] = std::from_chars(begin, begin + text.size(), value);
  const auto digits = static_cast<size_t>(end - begin);
  if (error != std::errc() || value < 0 || digits > kMaxDigits) return std::nullopt;
  if (digits < text.size() && text[digits] != '.') return std::nullopt;
  text.remove_prefix(std::min(digits + 1, text.size()));
  return value;
}

std::optional<LdmModule> ldm_unet_module(std::string_view name, int64_t layers) {
  if (layers < 1) return std::nullopt;
  if (take(name, "input_blocks.")) return input_block(name, layers);
  if (take(name, "middle_block.")) return middle_block(name);
  if (take(name, "output_blocks.")) return output_block(name, layers);
  return std::nullopt;
}

std::string ldm_resnet_leaf(std::string_view leaf) {
  return replaced_prefix(leaf, kResnetLeaves).value_or(std::string(leaf));
}

std::string ldm_unet_name(std::string_view name, int64_t layers) {
  if (const auto end = replaced_prefix(name, kUNetEnds)) return *end;
  const auto module = ldm_unet_module(name, layers);
  if (!module) return std::string(name);
  return module->path + "." + (module->kind == LdmModule::Kind::resnet ? ldm_resnet_leaf(module->leaf) : module->leaf);
}

std::string ldm_vae_name(std::string_view name, int64_t levels) {
  for (const std::string_view half : {"encoder.", "decoder."}) {
    if (!name.starts_with(half)) continue;
    if (const auto inside = vae_half_name(name.substr(half.size()), levels)) return std::string(half) + *inside;
  }
  return std::string(name);
}

std::vector<OpenClipName> openclip_block_names(std::string_view name) {
  std::string_view leaf = name;
  if (!take(leaf, "resblocks.")) return {};
  const auto i = take_index(leaf);
  if (!i) return {};
  const std::string layer = "encoder.layers." + std::to_string(*i) + ".";
  if (leaf == "attn.in_proj_weight" || leaf == "attn.in_proj_bias") {
    const std::string end = leaf.ends_with("weight") ? ".weight" : ".bias";
    std::vector<OpenClipName> parts;
    for (const std::string_view part : {"q_proj", "k_proj", "v_proj"}) {
      parts.push_back({layer + "self_attn." + std::string(part) + end, static_cast<int64_t>(parts.size()), 3});
    }
    return parts;
  }
  if (const auto known = replaced_prefix(leaf, kOpenClipLeaves)) return {{layer + *known}};
  return {};
}

std::vector<OpenClipName> openclip_text_names(std::string_view name) {
  if (name == "positional_embedding") return {{"embeddings.position_embedding.weight"}};
  if (name == "token_embedding.weight") return {{"embeddings.token_embedding.weight"}};
  if (name == "ln_final.weight") return {{"final_layer_norm.weight"}};
  if (name == "ln_final.bias") return {{"final_layer_norm.bias"}};
  if (name.starts_with("transformer.")) return openclip_block_names(name.substr(12));
  return {};
}

}  // namespace t2v::io
