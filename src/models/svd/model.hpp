// SPDX-License-Identifier: Apache-2.0
// An opened checkpoint of the family: configs read, file headers checked against the networks, nothing loaded.
#pragma once

#include <memory>

#include "engine/memory_probe.hpp"
#include "io/checkpoint.hpp"
#include "models/lora/lora_set.hpp"
#include "models/planning.hpp"
#include "models/svd/unet.hpp"
#include "models/vae/placements.hpp"
#include "models/vae/temporal_decoder.hpp"
#include "models/vision/clip_vision.hpp"
#include "t2v/pipeline.hpp"
#include "tensor/placement.hpp"

namespace t2v::models::svd {

class SvdModel final : public Model {
 public:
  SvdModel(io::Checkpoint checkpoint, const LoadOptions& options);

  const ModelInfo& info() const override { return info_; }
  Plan plan(const Request& request) const override;
  std::unique_ptr<Pipeline> load(Progress& progress, Parts parts) const override;

 private:
  void read_networks();
  void check_networks_fit() const;
  void read_defaults();
  void plan_decode_chunk(Plan& plan) const;
  void plan_costs(Plan& plan) const;
  int64_t weight_bytes() const { return encoder_bytes_ + unet_bytes_ + vae_bytes_; }
  engine::CallCost decode_cost(const Plan& plan, int64_t frames) const;

  io::Checkpoint checkpoint_;
  LoadOptions options_;
  lora::LoraSet loras_;
  ModelInfo info_;
  Limits limits_;
  Placement placement_;  // of the unet
  VaePlacements vae_placements_;
  Placement encoder_placement_;  // fp32
  // The networks without data: parameter counts, strictness of headers, and the memory probe.
  std::unique_ptr<vision::CLIPVisionModel> encoder_shapes_;
  std::unique_ptr<UNetSpatioTemporalConditionModel> unet_shapes_;
  std::unique_ptr<vae::AutoencoderKLTemporalDecoder> vae_shapes_;
  int64_t encoder_bytes_ = 0, unet_bytes_ = 0, vae_bytes_ = 0;  // weights in memory
  int64_t vae_encoding_bytes_ = 0;                              // of the VAE while the image is encoded
};

}  // namespace t2v::models::svd
