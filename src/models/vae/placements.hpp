// SPDX-License-Identifier: Apache-2.0
// In which precision an autoencoder works beside a network of another.
#pragma once

#include "tensor/placement.hpp"

namespace t2v::models {

struct VaePlacements {
  Placement encoding, decoding;
};

/// Of an autoencoder in a run of placement `run`. It encodes in fp32 if its config asks for that, as in diffusers. A
/// device decodes in the run's precision all the same, again as in diffusers: its fp32 products are many times slower,
/// and the rare frames that half precision can't hold are decoded once more (models/decode.hpp). A CPU gains nothing
/// from half precision.
inline VaePlacements vae_placements(const Placement& run, bool force_upcast) {
  const Placement precise{run.device, force_upcast ? c10::kFloat : run.dtype};
  return {.encoding = precise, .decoding = run.device.is_cpu() ? precise : run};
}

}  // namespace t2v::models
