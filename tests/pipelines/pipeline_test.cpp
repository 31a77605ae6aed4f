// SPDX-License-Identifier: Apache-2.0
// Whole runs through the public API against diffusers: same seed, same latents, same pixels.
#include <gtest/gtest.h>

#include "pipelines/whole_run.hpp"

namespace t2v::test {
namespace {

class WholeRun : public testing::TestWithParam<std::string> {};

TEST_P(WholeRun, equals_diffusers) {
  const WholeRunResult result = run_whole(pipelines_golden(), GetParam());
  // The project's promise for whole fp32 runs; other CPU kernels move the result by up to 3e-5.
  EXPECT_LE(result.latents_error, 1e-4);
  EXPECT_LE(result.frames_error.value_or(0), 1);
}

std::vector<std::string> run_names() {
  std::vector<std::string> names;
  const io::Json golden = pipelines_golden();
  for (const auto& [name, run] : golden["runs"].items()) names.push_back(name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(diffusers, WholeRun, testing::ValuesIn(run_names()),
                         [](const auto& info) { return info.param; });

TEST(Pipeline, Row78_same_seed_gives_the_same_latents_and_another_seed_others) {
  const TempFolder folder;
  const io::Json golden = pipelines_golden();
  write_tiny_checkpoint(folder.path(), golden, golden["runs"]["default"]["scheduler"]);
  const auto model = open_model({.model = folder.path().string(), .device = "cpu"});
  Progress progress;
  const auto pipeline = model->load(progress);
  const auto run = [&](int64_t seed) {
    Request request{.prompt = "x", .width = 32, .height = 32, .frames = 2, .steps = 2, .seed = seed};
    return pipeline->denoise(model->plan(request), progress).data;
  };
  const auto first = run(1);
  EXPECT_EQ(first, run(1));
  EXPECT_NE(first, run(2));
}

}  // namespace
}  // namespace t2v::test
