// SPDX-License-Identifier: Apache-2.0
// Text to pictures with a Stable Diffusion UNet, one frame or many: everything that StableDiffusionPipeline and
// AnimateDiffPipeline of diffusers 0.42.1 have in common. What differs is in Variant, which the families fill.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/reloadable.hpp"
#include "io/checkpoint.hpp"
#include "models/lora/lora_set.hpp"
#include "models/planning.hpp"
#include "models/text/text_encoder.hpp"
#include "models/unet/unet2d.hpp"
#include "models/vae/image_autoencoder.hpp"
#include "t2v/pipeline.hpp"
#include "tensor/placement.hpp"

namespace t2v::models::unet {

/// How a family uses the UNet.
struct Variant {
  std::string family;
  std::string pipeline_class;
  bool is_video = false;                      ///< latents are [1, C, F, h, w]; else one picture, [1, C, h, w]
  UNet2DConfig unet;                          ///< with motion modules in place
  std::optional<io::Component> adapter = {};  ///< where motion modules lie when not in the UNet's own file
  io::Config scheduler;                       ///< what a run starts from when the request names nothing
  int64_t frames = 1, steps = 50;
  double cfg_scale = 7.5;
};

class DiffusionModel final : public Model {
 public:
  DiffusionModel(io::Checkpoint checkpoint, const LoadOptions& options, Variant variant);

  const ModelInfo& info() const override { return info_; }
  Plan plan(const Request& request) const override;
  std::unique_ptr<Pipeline> load(Progress& progress, Parts parts) const override;

 private:
  void count_parts();
  void read_defaults();
  void plan_costs(Plan& plan) const;

  io::Checkpoint checkpoint_;
  LoadOptions options_;
  lora::LoraSet loras_;
  Variant variant_;
  ModelInfo info_;
  Limits limits_;
  Placement placement_;      // of text encoder and unet
  Placement vae_placement_;  // where frames are decoded
  int64_t display_scale_ = 1;
  // The networks without data: parameter counts, strictness of headers, and the memory probe.
  std::unique_ptr<UNet2DConditionModel> unet_shapes_;
  std::unique_ptr<vae::ImageAutoencoder> vae_shapes_;
  int64_t text_bytes_ = 0, unet_bytes_ = 0, vae_bytes_ = 0;  // weights in memory
};

/// With Parts::decoder only the VAE is there.
struct Networks {
  engine::Reloadable<text::TextEncoder> text_encoder;
  engine::Reloadable<UNet2DConditionModel> unet;
  engine::Reloadable<vae::ImageAutoencoder> vae;
  bool embeds_guidance = false;  ///< the UNet takes the guidance scale as an input
  bool keep = true;              ///< LoadOptions::keep_networks
};

class DiffusionPipeline final : public Pipeline {
 public:
  DiffusionPipeline(Networks networks, io::Config scheduler, Placement placement);

  Latents denoise(const Plan& plan, Progress& progress) override;  // in plan.latent_shape
  void decode(const Latents& latents, const Plan& plan, FrameSink& sink, Progress& progress) override;

 private:
  Networks networks_;
  io::Config scheduler_config_;
  Placement placement_;
};

}  // namespace t2v::models::unet
