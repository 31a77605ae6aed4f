// SPDX-License-Identifier: Apache-2.0
// The noise that a long clip begins from.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "tensor/rng.hpp"

namespace t2v::sampling {

enum class ClipNoise {
  random,     ///< every frame its own
  freenoise,  ///< the first window's frames again and again, shuffled: far frames keep its look
  repeat,     ///< the first window's frames again and again, in order
};

struct ClipNoiseOptions {
  ClipNoise kind = ClipNoise::random;
  int64_t window = 0;  ///< frames of a context window
  int64_t stride = 4;  ///< freenoise: how many frames are shuffled among themselves
};

/// Unit noise [shape] with its frames along `frame_dim`. freenoise is the noise rescheduling of Qiu
/// et al. 2310.15169, 3.2, with the draws of diffusers 0.42.1 free_noise_utils.py
/// (_prepare_latents_free_noise, "shuffle_context"): the whole clip, then one permutation for each
/// `stride` frames. A clip no longer than the window has plain noise.
at::Tensor draw_clip_noise(const ClipNoiseOptions& options, at::IntArrayRef shape, int64_t frame_dim,
                           c10::ScalarType dtype, c10::Device device, Rng& rng);

}  // namespace t2v::sampling
