// SPDX-License-Identifier: Apache-2.0
// Interfaces of the parts that families share. Networks are plain structs with forward(); these wrap them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include <ATen/core/Tensor.h>

namespace t2v::models {

using at::Tensor;

/// Shape facts of an autoencoder.
struct VaeGeometry {
  int64_t spatial_factor = 8;
  int64_t temporal_factor = 1;
  int64_t latent_channels = 4;
  double scaling_factor = 0.18215;
};

}  // namespace t2v::models
