// SPDX-License-Identifier: Apache-2.0
// StableVideoDiffusionPipeline of diffusers 0.42.1 (pipelines/stable_video_diffusion): image -> latents -> frames.
#pragma once

#include <memory>

#include "engine/reloadable.hpp"
#include "io/checkpoint.hpp"
#include "models/svd/unet.hpp"
#include "models/vae/temporal_decoder.hpp"
#include "models/vision/clip_vision.hpp"
#include "t2v/pipeline.hpp"
#include "tensor/rng.hpp"

namespace t2v::models::svd {

/// Guidance rises along the clip, from --cfg-min at its first frame to --cfg-scale at its last; in a loop, to its
/// middle and back, so that the last frame leads into the first. [1, F, 1, 1, 1] fp32
Tensor guidance_ramp(const Plan& plan);
/// Whether any frame is guided.
bool is_guided(const Plan& plan);
/// Frames beside a decoded chunk that are decoded along: the temporal decoder looks past a chunk's ends where a clip is
/// made in windows, so that no chunk's end is seen. Otherwise chunks are cut as in diffusers.
int64_t decode_neighbours(const Plan& plan);

/// With Parts::decoder only the VAE is there.
struct Networks {
  engine::Reloadable<vision::CLIPVisionModel> image_encoder;  // fp32 wherever the rest computes
  vision::ImageNormalisation normalisation;
  engine::Reloadable<UNetSpatioTemporalConditionModel> unet;
  engine::Reloadable<vae::AutoencoderKLTemporalDecoder> vae;
  bool encodes_in_fp32 = false;  ///< the VAE, whatever it decodes in
  bool keep = true;              ///< LoadOptions::keep_networks
};

class SvdPipeline final : public Pipeline {
 public:
  SvdPipeline(Networks networks, io::Config scheduler, Placement placement);

  Latents denoise(const Plan& plan, Progress& progress) override;  // [1, F, C, h, w]
  void decode(const Latents& latents, const Plan& plan, FrameSink& sink, Progress& progress) override;

 private:
  /// The image in the two forms that the network sees.
  struct ImageConditioning {
    Tensor token;    // [1, 1, D]
    Tensor latents;  // [1, 1, C, h, w], of the image with noise on it; not scaled
  };
  ImageConditioning encode_image(const Plan& plan, Rng& rng, Progress& progress);

  Networks networks_;
  io::Config scheduler_config_;
  Placement placement_;
};

}  // namespace t2v::models::svd
