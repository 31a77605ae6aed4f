// SPDX-License-Identifier: Apache-2.0
// Every UNet family with whole steps recorded and replayed (network, guidance and the sampler's update at once), on a
// device that the CPU plays: the run is the one without recordings.
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/step_graph.hpp"
#include "pipelines/family.hpp"
#include "support/fake_graph.hpp"

namespace t2v::test {
namespace {

/// While it lives, what is computed on the CPU is recorded.
class RecordingCpu {
 public:
  RecordingCpu() {
    engine::set_graph_devices([this] { return std::make_unique<FakeGraph>(log); });
  }
  ~RecordingCpu() { engine::set_graph_devices({}); }
  FakeGraphLog log;
};

class RecordedSteps : public testing::TestWithParam<const char*> {
 protected:
  Family& family() const { return Family::named(GetParam()); }
  Request request() const {
    Request out = family().request(/*frames=*/4);
    out.sampler = "dpmpp_2m";
    out.steps = 12;
    return out;
  }
  /// The same clip as without recordings. A sampler's table rounds in another order than the sampler: a few ulp a step.
  void expect_same_clip(const Request& request, int failures = 0) const {
    const Latents want = family().denoise(request);
    RecordingCpu recording;
    recording.log.failures = failures;
    const Latents got = family().denoise(request);
    log_ = recording.log;
    ASSERT_EQ(got.data.size(), want.data.size());
    double error = 0, size = 0;
    for (size_t i = 0; i < got.data.size(); ++i) {
      error += std::pow(static_cast<double>(got.data[i]) - want.data[i], 2);
      size += std::pow(static_cast<double>(want.data[i]), 2);
    }
    EXPECT_LT(std::sqrt(error / size), 1e-4);
  }
  mutable FakeGraphLog log_;
};

TEST_P(RecordedSteps, make_the_clip_of_the_calls) {
  expect_same_clip(request());
  EXPECT_EQ(log_.recorded, 1);
  EXPECT_EQ(log_.replayed, 1 + 11) << "the first call records, the second proves with a replay more";
}

TEST_P(RecordedSteps, are_two_kinds_where_guidance_covers_a_part_of_the_run) {
  Request some = request();
  some.cfg_until = 0.5;
  expect_same_clip(some);
  EXPECT_EQ(log_.recorded, 2);
  EXPECT_EQ(log_.replayed, 2 * (1 + 5));
}

TEST_P(RecordedSteps, that_can_not_be_recorded_leave_the_network_to_be) {
  expect_same_clip(request(), /*failures=*/1);
  EXPECT_GE(log_.recorded, 1);
  EXPECT_GE(log_.replayed, 1 + 10);
}

TEST_P(RecordedSteps, of_a_sampler_that_draws_noise_are_replayed_with_it) {
  Request noisy = request();
  noisy.sampler = "euler_a";
  expect_same_clip(noisy);
  EXPECT_EQ(log_.recorded, 1);
  EXPECT_EQ(log_.replayed, 1 + 11);
}

TEST_P(RecordedSteps, of_moving_windows_record_the_network_alone) {
  Request windows = request();
  windows.frames = 6;
  windows.context = 4;
  expect_same_clip(windows);
  EXPECT_GT(log_.replayed, 12);
}

TEST_P(RecordedSteps, are_not_made_where_features_are_kept) {
  Request cached = request();
  cached.deepcache = 2;
  expect_same_clip(cached);
  EXPECT_EQ(log_.recorded, 0);
}

INSTANTIATE_TEST_SUITE_P(, RecordedSteps, testing::Values("modelscope", "animatediff", "svd"));

}  // namespace
}  // namespace t2v::test
