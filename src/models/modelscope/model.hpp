// SPDX-License-Identifier: Apache-2.0
// An opened checkpoint of the family: configs read, file headers checked against the networks, nothing loaded.
#pragma once

#include <memory>

#include "io/checkpoint.hpp"
#include "models/lora/lora_set.hpp"
#include "models/modelscope/unet3d.hpp"
#include "models/planning.hpp"
#include "models/vae/image_autoencoder.hpp"
#include "models/vae/placements.hpp"
#include "t2v/pipeline.hpp"
#include "tensor/placement.hpp"

namespace t2v::models::modelscope {

class ModelScopeModel final : public Model {
 public:
  ModelScopeModel(io::Checkpoint checkpoint, const LoadOptions& options);

  const ModelInfo& info() const override { return info_; }
  Plan plan(const Request& request) const override;
  std::unique_ptr<Pipeline> load(Progress& progress, Parts parts) const override;

 private:
  void check_networks_fit() const;
  void read_defaults();
  Plan plan_video_input(const Request& request) const;
  void plan_costs(Plan& plan) const;

  io::Checkpoint checkpoint_;
  LoadOptions options_;
  lora::LoraSet loras_;
  ModelInfo info_;
  Limits limits_;
  Placement placement_;  // of text encoder and unet
  VaePlacements vae_placements_;
  int64_t display_scale_ = 1;
  // The networks without data: parameter counts, strictness of headers, and the memory probe.
  std::unique_ptr<UNet3DConditionModel> unet_shapes_;
  std::unique_ptr<vae::ImageAutoencoder> vae_shapes_;
  int64_t text_bytes_ = 0, unet_bytes_ = 0, vae_bytes_ = 0;  // weights in memory
  int64_t vae_encoding_bytes_ = 0;                           // of the VAE while a video is encoded
};

}  // namespace t2v::models::modelscope
