// SPDX-License-Identifier: Apache-2.0
// The record of a run: one JSON object, written into the video and the latents file, read by `t2v
// info` and --from.
#pragma once

#include <string>

#include "cli/invocation.hpp"
#include "io/config.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::commands {

/// Version of the object. 1: schema, t2v, model, family, pipeline, model_hash, options by long
/// name, sampler_class, device, dtype, ai_generated; lora_hash beside "lora", one each.
constexpr int kSettingsSchema = 1;

/// Everything that shaped the result of `plan`; paths lose their folders.
io::Json settings_of(const cli::Invocation& invocation, const Plan& plan, const ModelInfo& model);
std::string settings_text(const io::Json& settings);  ///< one line; bytes that are no UTF-8 are replaced

/// `invocation` with recorded settings under what the user gave beside them. `where` names the file
/// in messages. Settings of an encoder are left out when the output's format has none.
cli::Invocation with_settings(const cli::Invocation& invocation, const std::string& settings, const std::string& where);

}  // namespace t2v::commands
