// SPDX-License-Identifier: Apache-2.0
#include "models/unet/feature_cache.hpp"

#include <array>

#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "support/match.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::unet {
namespace {

sampling::StepContext call(int64_t index) { return {.index = index, .count = 10, .timestep = 1.0}; }

TEST(FeatureCache, runs_all_layers_in_every_nth_step) {
  FeatureCache cache(3);
  for (int64_t i = 0; i < 7; ++i) EXPECT_EQ(cache.at(call(i))->reuse, i % 3 != 0) << i;
}

TEST(FeatureCache, keeps_nothing_by_default_and_in_windows) {
  EXPECT_EQ(FeatureCache(1).at(call(1)), nullptr);
  const std::array<int64_t, 2> frames{3, 4};
  sampling::StepContext window = call(1);
  window.frames = frames;
  EXPECT_EQ(FeatureCache(2).at(window), nullptr);
}

TEST(FeatureCache, fits_only_what_has_its_size_and_type) {
  const DeepFeature feature{at::ones({4, 8, 6, 5}), true};
  EXPECT_TRUE(feature.fits(at::ones({4, 3, 6, 5})));
  EXPECT_FALSE(feature.fits(at::ones({2, 3, 6, 5}))) << "guidance has ended";
  EXPECT_FALSE(feature.fits(at::ones({4, 3, 6, 4})));
  EXPECT_FALSE(feature.fits(at::ones({4, 3, 6, 5}, c10::kDouble))) << "a step done again in another precision";
  EXPECT_FALSE(DeepFeature().fits(at::ones({4, 3, 6, 5})));
}

TEST(FeatureCache, its_state_comes_back_by_branch) {
  FeatureCache cache(2), other(2);
  cache.at(call(0), "image")->kept = at::ones({1, 2, 1, 1});
  cache.at(call(0), "nothing")->kept = at::ones({1, 2, 1, 1}) * 2;
  cache.at(call(0), "unused");
  EXPECT_EQ(cache.state().size(), 2U);
  other.set_state(cache.state());
  EXPECT_TRUE(test::is_close(other.at(call(1), "nothing")->kept, cache.at(call(1), "nothing")->kept, 0.0));
  other.set_state({});
  EXPECT_TRUE(other.state().empty());
}

}  // namespace
}  // namespace t2v::models::unet
