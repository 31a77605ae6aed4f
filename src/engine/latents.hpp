// SPDX-License-Identifier: Apache-2.0
// Latents as tensors and as files: safetensors, tensor `latents`, fp32, the run's settings in __metadata__.
#pragma once

#include <filesystem>

#include <ATen/core/Tensor.h>

#include "t2v/pipeline.hpp"

namespace t2v::engine {

Latents to_latents(const at::Tensor& tensor);
at::Tensor to_tensor(const Latents& latents);  ///< fp32, CPU; a copy

/// Atomic. Key `settings` of __metadata__ holds latents.settings.
void save_latents(const std::filesystem::path& file, const Latents& latents);
/// Error{bad_input} unless the file has a tensor `latents` of at least 4 axes. Any float dtype.
Latents load_latents(const std::filesystem::path& file);

}  // namespace t2v::engine
