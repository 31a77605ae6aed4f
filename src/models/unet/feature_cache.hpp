// SPDX-License-Identifier: Apache-2.0
// DeepCache (Ma et al. 2023, arXiv 2312.00858): the deep layers of a UNet change little from one step to the next, so
// what they made is used again in the steps between. Here with the paper's shallowest branch: the steps between run
// what stands before the way down and the very last layer of the way up.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <ATen/core/Tensor.h>

#include "sampling/denoiser.hpp"

namespace t2v::models::unet {

/// What enters the last layer, kept from a step that ran them all.
struct DeepFeature {
  at::Tensor kept;     // [B*F, C, H, W]; undefined: none yet
  bool reuse = false;  // in this call, where `kept` fits its input

  bool fits(const at::Tensor& x) const;
};

/// The features of one run; calls of the network that see different conditioning keep theirs apart.
class FeatureCache {
 public:
  /// All layers run in every `every`-th step; 1: in each, and nothing is kept.
  explicit FeatureCache(int64_t every) : every_(every) {}

  bool is_active() const { return every_ > 1; }
  /// For this call, or null where nothing is to be kept: also in context windows, which move from step to step.
  DeepFeature* at(const sampling::StepContext& step, const std::string& branch = "all");

  /// As of Denoiser::state().
  std::map<std::string, at::Tensor> state() const;
  void set_state(const std::map<std::string, at::Tensor>& state);

 private:
  int64_t every_;
  std::map<std::string, DeepFeature> features_;  // by branch
};

}  // namespace t2v::models::unet
