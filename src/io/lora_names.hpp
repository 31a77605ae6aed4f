// SPDX-License-Identifier: Apache-2.0
// How trainers spell the tensors of a LoRA: one name in, its module and role out. Private to io.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "io/lora.hpp"

namespace t2v::io {

enum class LoraRole { down, up, mid, diff, bias_diff, alpha };

struct LoraName {
  std::string component;
  std::string key;     ///< module_key() of `module` without the component's prefix
  std::string module;  ///< as stored, for messages
  LoraRole role;
  LoraNaming naming;
};

/// Nothing when the tensor is no part of a LoRA. Throws Error{unsupported} for kinds of adapters that are known but not
/// merged (DoRA, LoHa, ...).
std::optional<LoraName> parse_lora_name(std::string_view name, const std::string& where);

[[noreturn]] void refuse_kind(const std::string& where, const std::string& kind);

}  // namespace t2v::io
