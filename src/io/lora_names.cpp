// SPDX-License-Identifier: Apache-2.0
#include "io/lora_names.hpp"

#include <algorithm>
#include <array>

#include "t2v/error.hpp"

namespace t2v::io {

namespace {

/// `marker` parts the module from what follows: nothing, ".weight", ".bias", or an adapter's name and ".weight".
struct Marker {
  std::string_view text;
  LoraRole role;
  LoraNaming naming;
};
constexpr std::array kMarkers{
    Marker{".lora_A", LoraRole::down, LoraNaming::peft},
    Marker{".lora_B", LoraRole::up, LoraNaming::peft},
    Marker{".lora.down", LoraRole::down, LoraNaming::diffusers},
    Marker{".lora.up", LoraRole::up, LoraNaming::diffusers},
    Marker{".lora_linear_layer.down", LoraRole::down, LoraNaming::diffusers},
    Marker{".lora_linear_layer.up", LoraRole::up, LoraNaming::diffusers},
    Marker{"_lora.down", LoraRole::down, LoraNaming::attention_processors},
    Marker{"_lora.up", LoraRole::up, LoraNaming::attention_processors},
    Marker{".lora_down", LoraRole::down, LoraNaming::kohya},
    Marker{".lora_up", LoraRole::up, LoraNaming::kohya},
    Marker{".lora_mid", LoraRole::mid, LoraNaming::kohya},
    Marker{".diff_b", LoraRole::bias_diff, LoraNaming::full_difference},
    Marker{".b_norm", LoraRole::bias_diff, LoraNaming::full_difference},
    Marker{".diff", LoraRole::diff, LoraNaming::full_difference},
    Marker{".w_norm", LoraRole::diff, LoraNaming::full_difference},
    Marker{".alpha", LoraRole::alpha, LoraNaming::kohya},
};

/// Adapters that are no plain LoRA. Their tensors must not be passed over in silence: the rest would be wrong alone.
struct Kind {
  std::string_view text, name;
};
constexpr std::array kKinds{
    Kind{".dora_scale", "DoRA"},
    Kind{".lora_magnitude_vector", "DoRA"},
    Kind{".hada_w", "LoHa"},
    Kind{".hada_t", "LoHa"},
    Kind{".lokr_w", "LoKr"},
    Kind{".lokr_t", "LoKr"},
    Kind{".oft_blocks", "OFT"},
    Kind{".oft_diag", "OFT"},
    Kind{".oft_r", "OFT"},
    Kind{".ia3_", "IA3"},
    Kind{".on_input", "IA3"},
    Kind{".vera_lambda", "VeRA"},
    Kind{".lora_embedding_", "LoRA of an embedding table"},
};

/// What stands before the module's name, and the component it means. Longer ones first.
struct Prefix {
  std::string_view text, component;
};
constexpr std::array kPrefixes{
    Prefix{"lora_unet_", "unet"},
    Prefix{"lora_te1_", "text_encoder"},
    Prefix{"lora_te2_", "text_encoder_2"},
    Prefix{"lora_te_", "text_encoder"},
    Prefix{"lora_transformer_", "transformer"},
    Prefix{"unet.", "unet"},
    Prefix{"text_encoder_2.", "text_encoder_2"},
    Prefix{"text_encoder.", "text_encoder"},
    Prefix{"transformer.", "transformer"},
    Prefix{"model.diffusion_model.", "unet"},
    Prefix{"diffusion_model.", "unet"},
    Prefix{"cond_stage_model.transformer.", "text_encoder"},
    Prefix{"text_model.", "text_encoder"},
};
/// Layers that wrappers of a training run leave in front.
constexpr std::array<std::string_view, 4> kWrappers{"state_dict.", "module.", "base_model.model.", "_orig_mod."};

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

void replace_end(std::string& text, std::string_view from, std::string_view to) {
  if (text.ends_with(from)) text.replace(text.size() - from.size(), from.size(), to);
}

/// What may follow a marker. For the halves of a pair, PEFT puts the adapter's name in between.
bool is_tail(std::string_view tail, const Marker& marker, bool& is_bias) {
  is_bias = marker.role == LoraRole::up && tail.ends_with(".bias");
  if (tail.empty()) return true;
  const bool is_pair = marker.role == LoraRole::down || marker.role == LoraRole::up || marker.role == LoraRole::mid;
  if (!is_pair) return false;
  if (is_bias) {
    tail.remove_suffix(std::string_view(".bias").size());
  } else if (tail.ends_with(".weight")) {
    tail.remove_suffix(std::string_view(".weight").size());
  } else {
    return false;
  }
  if (tail.empty()) return true;
  return marker.naming == LoraNaming::peft && tail.front() == '.' && tail.find('.', 1) == tail.npos;
}

struct Split {
  std::string_view module;
  LoraRole role;
  LoraNaming naming;
};

std::optional<Split> split_at_marker(std::string_view name) {
  for (const Marker& marker : kMarkers) {
    const size_t at = name.rfind(marker.text);
    if (at == name.npos || at == 0) continue;
    bool is_bias = false;
    if (!is_tail(name.substr(at + marker.text.size()), marker, is_bias)) continue;
    return Split{name.substr(0, at), is_bias ? LoraRole::bias_diff : marker.role, marker.naming};
  }
  return std::nullopt;
}

std::string_view without_wrappers(std::string_view name) {
  for (bool found = true; found;) {
    found = false;
    for (const auto wrapper : kWrappers) {
      if (!name.starts_with(wrapper)) continue;
      name.remove_prefix(wrapper.size());
      found = true;
    }
  }
  return name;
}

/// Modules of a text encoder. transformers saves them with or without `text_model.`; diffusers' old processors called
/// the projections by the UNet's names.
std::string text_key(std::string key) {
  if (key.starts_with("text_model_")) key.erase(0, std::string_view("text_model_").size());
  for (const char* letter : {"q", "k", "v"}) {
    replace_end(key, std::string("self_attn_to_") + letter, std::string("self_attn_") + letter + "_proj");
  }
  replace_end(key, "self_attn_to_out_0", "self_attn_out_proj");
  return key;
}

}  // namespace

void refuse_kind(const std::string& where, const std::string& kind) {
  throw Error(ErrorCode::unsupported, "LoRA not supported: " + where + ": wanted a plain LoRA, got " + kind,
              "merge it into the checkpoint with the tool that made it, or use a LoRA version of it");
}

std::string module_key(std::string_view module_name) {
  std::string key(module_name);
  std::ranges::replace(key, '.', '_');
  replace_all(key, "_processor_", "_");
  // AnimateDiff's own names of what diffusers calls motion_modules.N.transformer_blocks (see motion_module_name).
  replace_all(key, "_temporal_transformer_", "_");
  replace_all(key, "_attention_blocks_0_", "_attn1_");
  replace_all(key, "_attention_blocks_1_", "_attn2_");
  replace_end(key, "_to_out", "_to_out_0");
  return key;
}

std::optional<LoraName> parse_lora_name(std::string_view name, const std::string& where) {
  for (const Kind& kind : kKinds) {
    if (name.find(kind.text) != name.npos) refuse_kind(where, std::string(kind.name));
  }
  const auto split = split_at_marker(without_wrappers(name));
  if (!split) return std::nullopt;
  std::string_view module = split->module;
  LoraName parsed{
      .component = "unet", .key = {}, .module = std::string(module), .role = split->role, .naming = split->naming};
  for (const Prefix& prefix : kPrefixes) {
    if (!module.starts_with(prefix.text) || module.size() == prefix.text.size()) continue;
    module.remove_prefix(prefix.text.size());
    parsed.component = prefix.component;
    break;
  }
  parsed.key = module_key(module);
  if (parsed.component.starts_with("text_encoder")) parsed.key = text_key(std::move(parsed.key));
  return parsed;
}

}  // namespace t2v::io
