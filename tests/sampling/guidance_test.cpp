// SPDX-License-Identifier: Apache-2.0
#include "sampling/guidance.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linspace.h>

#include "support.hpp"

namespace t2v::sampling::test {
namespace {

TEST(Guidance, scale_one_is_the_conditional_prediction) {
  const at::Tensor u = pattern({2, 4, 2}, 1);
  const at::Tensor c = pattern({2, 4, 2}, 2);
  EXPECT_TRUE(at::allclose(combine_cfg(u, c, 1.0), c, 1e-6, 1e-6));
  EXPECT_TRUE(at::equal(combine_cfg_batch(at::cat({u, c}), 7.5), combine_cfg(u, c, 7.5)));
}

TEST(Guidance, an_interval_is_a_part_of_the_steps) {
  const auto guided = [](GuidanceInterval interval, int64_t count) {
    std::string out;
    for (int64_t i = 0; i < count; ++i) out += interval.contains({.index = i, .count = count}) ? '1' : '0';
    return out;
  };
  EXPECT_EQ(guided({}, 3), "111");
  EXPECT_EQ(guided({0, 0.6}, 10), "1111110000");
  EXPECT_EQ(guided({0.25, 0.75}, 4), "0110");
  EXPECT_EQ(guided({0, 0}, 2), "00");
}

TEST(Guidance, a_ramp_gives_each_frame_its_own_scale) {
  const at::Tensor u = pattern({1, 3, 2}, 1);  // [B, F, C]
  const at::Tensor c = pattern({1, 3, 2}, 2);
  const at::Tensor scale = at::linspace(1, 3, 3).reshape({1, 3, 1});
  const at::Tensor guided = combine_cfg(u, c, scale);
  for (int64_t f = 0; f < 3; ++f) {
    EXPECT_TRUE(at::allclose(guided.select(1, f), combine_cfg(u, c, 1.0 + static_cast<double>(f)).select(1, f)));
  }
}

TEST(Guidance, full_rescale_gives_the_deviation_of_the_conditional_prediction) {
  const at::Tensor u = pattern({2, 4, 5}, 1);
  const at::Tensor c = pattern({2, 4, 5}, 2);
  const at::Tensor guided = combine_cfg(u, c, 9.0);
  const at::Tensor rescaled = rescale_noise_cfg(guided, c, 1.0);
  for (int64_t b = 0; b < 2; ++b) {
    EXPECT_NEAR(rescaled[b].std().item<double>(), c[b].std().item<double>(), 1e-6);
  }
  EXPECT_TRUE(at::equal(rescale_noise_cfg(guided, c, 0.0), guided));
  EXPECT_TRUE(at::allclose(rescale_noise_cfg(guided, c, 0.7), 0.7 * rescaled + 0.3 * guided, 1e-6, 1e-6));
}

}  // namespace
}  // namespace t2v::sampling::test
