// SPDX-License-Identifier: Apache-2.0
// What kind of file is this, and what did t2v write into it. For info, --from and compare.
#pragma once

#include <string>

namespace t2v::commands {

enum class FileKind { checkpoint, latents, unfinished_run, lora, weights, media };

/// By content: a folder (of a checkpoint, or of a LoRA), a safetensors file of latents, of a run's state, of a LoRA or
/// of weights, a PyTorch file; anything else is left to libav. Error{bad_input} when there is nothing at `path`.
FileKind kind_of(const std::string& path);

/// The settings object of a video, PNG or latents file made by t2v, as text. Error{bad_input} when
/// it has none.
std::string read_settings(const std::string& path);

}  // namespace t2v::commands
