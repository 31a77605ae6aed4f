// SPDX-License-Identifier: Apache-2.0
// A network over overlapping square tiles whose outputs are blended at the seams.
// diffusers 0.42 autoencoder_kl.py: tiled_decode, _tiled_encode, blend_v, blend_h.
#pragma once

#include <cstdint>
#include <functional>

#include <ATen/core/Tensor.h>

namespace t2v::models::vae {

struct TileSizes {
  int64_t input = 0;   // side of a tile that goes in
  int64_t output = 0;  // side of what a whole tile becomes
};

/// Tiles advance by three quarters of their side; the quarter that two share is blended linearly.
at::Tensor run_tiled(const at::Tensor& x, const TileSizes& sizes,
                     const std::function<at::Tensor(const at::Tensor&)>& network);

/// As above with tiles that share an eighth of their side, laid over each other in reading order,
/// each fading in over what is there. diffusers 0.42 autoencoder_tiny.py _tiled_decode, where
/// outputs are larger than inputs by a whole factor.
at::Tensor run_faded(const at::Tensor& x, const TileSizes& sizes,
                     const std::function<at::Tensor(const at::Tensor&)>& network);

}  // namespace t2v::models::vae
