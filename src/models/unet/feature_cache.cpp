// SPDX-License-Identifier: Apache-2.0
#include "models/unet/feature_cache.hpp"

namespace t2v::models::unet {

namespace {

const std::string kPrefix = "deep_feature.";

}  // namespace

bool DeepFeature::fits(const at::Tensor& x) const {
  return kept.defined() && kept.scalar_type() == x.scalar_type() && kept.size(0) == x.size(0) &&
         kept.size(2) == x.size(2) && kept.size(3) == x.size(3);
}

DeepFeature* FeatureCache::at(const sampling::StepContext& step, const std::string& branch) {
  if (every_ <= 1 || !step.frames.empty()) return nullptr;
  DeepFeature& feature = features_[branch];
  feature.reuse = step.index % every_ != 0;
  return &feature;
}

std::map<std::string, at::Tensor> FeatureCache::state() const {
  std::map<std::string, at::Tensor> out;
  for (const auto& [branch, feature] : features_) {
    if (feature.kept.defined()) out.emplace(kPrefix + branch, feature.kept);
  }
  return out;
}

void FeatureCache::set_state(const std::map<std::string, at::Tensor>& state) {
  features_.clear();
  for (const auto& [name, kept] : state) {
    if (name.starts_with(kPrefix)) features_[name.substr(kPrefix.size())].kept = kept;
  }
}

}  // namespace t2v::models::unet
