// SPDX-License-Identifier: Apache-2.0
// What the flags that trade exactness for time (--fast, --deepcache, --cfg-from, --cfg-until, and
// TAESD as --vae) cost and save.
#pragma once

#include "io/config.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::commands {

/// Whether this plan differs from the exact run.
bool takes_shortcuts(const Request& planned);
/// Makes the clip of `request` and the exact one from the same seed -> a row with the seconds of both samplings and the
/// PSNR of the frames. The request has a seed.
io::Json shortcut_row(const Model& model, Pipeline& pipeline, const Request& request);

/// Whether frames are decoded by TAESD.
bool has_tiny_autoencoder(const ModelInfo& info);
struct Decoding {
  Pipeline& pipeline;
  const Plan& plan;
};
/// The same latents decoded by the model's own autoencoder and by TAESD -> a row as above, of decoding.
io::Json tiny_autoencoder_row(const Decoding& exact, const Decoding& quick, const Latents& latents);

}  // namespace t2v::commands
