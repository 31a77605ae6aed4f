// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "engine/memory_probe.hpp"

namespace t2v::engine {
namespace {

TEST(Probe, peak_is_what_lives_at_the_same_time) {
  const CallCost cost = probe([] {
    { const at::Tensor first = meta({1000}); }  // gone before the next two
    const at::Tensor second = meta({500}), third = meta({700});
  });
  EXPECT_EQ(cost.peak_bytes, (500 + 700) * 4);
}

TEST(Probe, blocks_of_the_heap_cost_more_than_their_size_and_large_ones_do_not) {
  const int64_t large = 10 << 20;
  EXPECT_GT(probe([] { meta({1000}); }).taken_on(c10::kCPU), 4000);
  EXPECT_EQ(probe([] { meta({1000}); }).taken_on(c10::kCUDA), 4000);
  EXPECT_EQ(probe([&] { meta({large}); }).taken_on(c10::kCPU), large * 4);
}

}  // namespace
}  // namespace t2v::engine
