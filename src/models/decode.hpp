// SPDX-License-Identifier: Apache-2.0
// Latents to frames with an image autoencoder, streamed: what families with a per-frame VAE share.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "models/vae/autoencoder_kl.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::models {

/// Decodes `latents` [F, C, h, w] (unscaled with AutoencoderKL::unscale(), placed like the VAE) a chunk at a time and
/// writes each frame to `sink`, resized to plan.width x plan.height where they differ. Memory does not grow with F.
void decode_frames(const vae::AutoencoderKL& vae, const at::Tensor& latents, const Plan& plan, FrameSink& sink,
                   Progress& progress);

/// Frames decoded at once when the request does not say: as many as keep activations near 256 MB on a CPU (more gains
/// no speed there), 8 on CUDA.
int64_t default_decode_chunk(const Plan& plan, bool cuda);

}  // namespace t2v::models
