// SPDX-License-Identifier: Apache-2.0
// What of a run waits for a device's warm-up, and what does not.
#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <set>
#include <utility>

#include <gtest/gtest.h>

#include "engine/cuda_warm_up.hpp"
#include "pipelines/svd_run.hpp"
#include "pipelines/whole_run.hpp"
#include "support/gate.hpp"

namespace t2v::test {
namespace {

/// Says from another thread how far a run is.
class Reached final : public Progress {
 public:
  void begin(Stage stage, int64_t) override { note(stage, false); }
  void end(Stage stage, double) override { note(stage, true); }
  void wait_for_end(Stage stage) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return seen_.contains({stage, true}); });
  }
  bool has_begun(Stage stage) {
    const std::lock_guard lock(mutex_);
    return seen_.contains({stage, false});
  }

 private:
  void note(Stage stage, bool is_end) {
    const std::lock_guard lock(mutex_);
    seen_.emplace(stage, is_end);
    changed_.notify_all();
  }
  std::mutex mutex_;  // guards what is below
  std::condition_variable changed_;
  std::set<std::pair<Stage, bool>> seen_;
};

class WarmUp : public testing::Test {
 protected:
  void SetUp() override {
    const io::Json golden = pipelines_golden();
    write_tiny_checkpoint(folder_.path(), golden, golden["runs"]["default"]["scheduler"]);
    model_ = open_model({.model = folder_.path().string(), .device = "cpu", .keep_networks = false});
    plan_ = model_->plan({.prompt = "x", .width = 32, .height = 32, .frames = 2, .steps = 2, .seed = 1});
  }
  void TearDown() override { engine::finish_cuda_warm_up(); }
  Latents denoise(Progress& progress) {
    pipeline_ = model_->load(progress);
    return pipeline_->denoise(plan_, progress);
  }

  const TempFolder folder_;
  std::unique_ptr<Model> model_;
  Plan plan_;
  std::unique_ptr<Pipeline> pipeline_;
};

TEST_F(WarmUp, a_run_loads_beside_it_encodes_after_the_kernels_and_samples_after_all) {
  Gate kernels, libraries;
  engine::begin_warm_up([&] { kernels.wait(); }, [&] { libraries.wait(); });
  Reached reached;
  auto latents = std::async(std::launch::async, [&] { return denoise(reached); });
  reached.wait_for_end(Stage::load);
  EXPECT_EQ(latents.wait_for(kAWhile), std::future_status::timeout);
  EXPECT_FALSE(reached.has_begun(Stage::text));
  kernels.open();
  reached.wait_for_end(Stage::text);
  EXPECT_EQ(latents.wait_for(kAWhile), std::future_status::timeout);
  EXPECT_FALSE(reached.has_begun(Stage::denoise));
  libraries.open();
  latents.get();
  EXPECT_TRUE(reached.has_begun(Stage::denoise));
}

/// Here the image goes through a convolution network before anything is sampled.
TEST(WarmUpOfSvd, a_run_encodes_beside_libraries_and_samples_after_all) {
  const TempFolder folder;
  const io::Json& run = svd_document()["runs"].front();
  write_svd_checkpoint(folder.path() / "model");
  const fs::path image = write_picture(folder.path(), run["image"][0].get<int64_t>(), run["image"][1].get<int64_t>());
  const auto model = open_model({.model = (folder.path() / "model").string(), .device = "cpu"});
  const Plan plan = model->plan(svd_request(run, image));
  Gate libraries;
  engine::begin_warm_up([] {}, [&] { libraries.wait(); });
  Reached reached;
  const auto pipeline = model->load(reached);
  auto latents = std::async(std::launch::async, [&] { return pipeline->denoise(plan, reached); });
  reached.wait_for_end(Stage::text);
  EXPECT_EQ(latents.wait_for(kAWhile), std::future_status::timeout);
  EXPECT_FALSE(reached.has_begun(Stage::denoise));
  libraries.open();
  latents.get();
  EXPECT_TRUE(reached.has_begun(Stage::denoise));
}

TEST_F(WarmUp, decoding_begins_after_it) {
  Progress silent;
  const Latents latents = denoise(silent);
  Gate libraries;
  engine::begin_warm_up([] {}, [&] { libraries.wait(); });
  Reached reached;
  MemorySink sink;
  auto decoded = std::async(std::launch::async, [&] { pipeline_->decode(latents, plan_, sink, reached); });
  reached.wait_for_end(Stage::load);
  EXPECT_EQ(decoded.wait_for(kAWhile), std::future_status::timeout);
  EXPECT_FALSE(reached.has_begun(Stage::decode));
  libraries.open();
  decoded.get();
  EXPECT_TRUE(reached.has_begun(Stage::decode));
}

TEST_F(WarmUp, Row94_what_runs_or_fails_beside_a_run_changes_no_bit_of_it) {
  Progress silent;
  const auto alone = denoise(silent).data;
  for (const c10::ScalarType dtype : {c10::kFloat, c10::kBFloat16}) {
    const Placement placement{c10::kCPU, dtype};
    engine::begin_warm_up([=] { engine::use_products(placement); }, [=] { engine::use_convolutions(placement); });
    EXPECT_EQ(denoise(silent).data, alone);
  }
  const auto fails = [] { throw std::runtime_error("out of memory"); };
  engine::begin_warm_up(fails, fails);
  EXPECT_EQ(denoise(silent).data, alone);
}

}  // namespace
}  // namespace t2v::test
