// SPDX-License-Identifier: Apache-2.0
// TextToVideoSDPipeline and VideoToVideoSDPipeline of diffusers 0.42.1
// (pipelines/deprecated/text_to_video_synthesis): prompt (and video) -> latents -> frames.
#pragma once

#include <memory>

#include "engine/reloadable.hpp"
#include "io/checkpoint.hpp"
#include "models/clip.hpp"
#include "models/modelscope/unet3d.hpp"
#include "models/text/text_encoder.hpp"
#include "models/vae/image_autoencoder.hpp"
#include "t2v/pipeline.hpp"
#include "tensor/rng.hpp"

namespace t2v::models::modelscope {

/// With Parts::decoder only the VAE is there.
struct Networks {
  engine::Reloadable<text::TextEncoder> text_encoder;
  engine::Reloadable<UNet3DConditionModel> unet;
  engine::Reloadable<vae::ImageAutoencoder> vae;
  bool encodes_in_fp32 = false;  ///< the VAE, whatever it decodes in
  bool keep = true;              ///< LoadOptions::keep_networks
};

class ModelScopePipeline final : public Pipeline {
 public:
  ModelScopePipeline(Networks networks, io::Config scheduler, Placement placement);

  Latents denoise(const Plan& plan, Progress& progress) override;  // [1, C, F, h, w]
  void decode(const Latents& latents, const Plan& plan, FrameSink& sink, Progress& progress) override;

 private:
  ClipStart start(const Plan& plan, Rng& rng, Progress& progress);
  at::Tensor encode_video(const Plan& plan, Rng& rng, Progress& progress);

  Networks networks_;
  io::Config scheduler_config_;
  Placement placement_;
};

}  // namespace t2v::models::modelscope
