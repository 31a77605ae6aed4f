// SPDX-License-Identifier: Apache-2.0
// What `t2v bench` says, on a tiny checkpoint: that it adds up, never how fast it is.
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "cli/run_program.hpp"
#include "io/config.hpp"
#include "support/taesd_files.hpp"
#include "support/tiny_checkpoint.hpp"

namespace t2v {
namespace {

namespace fs = std::filesystem;

class Bench : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "t2v-bench-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    const io::Json golden = test::pipelines_golden();
    test::write_tiny_checkpoint(folder_ / "model", golden, golden["runs"]["default"]["scheduler"]);
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// The row of a part, or null.
  io::Json row(const std::string& part, std::vector<std::string> flags, const std::string& measured = "unet") const {
    std::vector<std::string> line{std::string(T2V_BINARY_DIR) + "/t2v",
                                  "bench",
                                  measured,
                                  "--json",
                                  "-m",
                                  (folder_ / "model").string(),
                                  "--size",
                                  "32x32",
                                  "--frames",
                                  "2",
                                  "--steps",
                                  "20",
                                  "--cfg-scale",
                                  "3",
                                  "--seed",
                                  "1",
                                  "-t",
                                  "1",
                                  "-p",
                                  "a cat"};
    line.insert(line.end(), flags.begin(), flags.end());
    const auto result = testing_support::run_program(line);
    EXPECT_EQ(result.code, 0) << result.err;
    const io::Json document = io::Json::parse(result.out);
    for (const auto& item : document["rows"]) {
      if (item["part"] == part) return item;
    }
    return nullptr;
  }

  fs::path folder_;
};

TEST_F(Bench, says_what_shortcuts_cost_beside_the_exact_run) {
  const io::Json fast = row("fast", {"--fast"});
  ASSERT_FALSE(fast.is_null());
  EXPECT_GT(fast["psnr_db"].get<double>(), 10);
  EXPECT_GT(fast["exact_seconds"].get<double>(), 0);
  // One that changes nothing: every step is within the interval.
  const io::Json same = row("fast", {"--cfg-until", "0.99"});
  ASSERT_FALSE(same.is_null());
  EXPECT_TRUE(same["psnr_db"].is_null()) << same;
}

TEST_F(Bench, compares_nothing_where_nothing_is_cut_short) {
  EXPECT_TRUE(row("fast", {}).is_null());
  EXPECT_EQ(row("unet", {})["count"], 19) << "without the first step, which also warms caches";
}

TEST_F(Bench, times_the_autoencoder_in_both_directions) {
  const io::Json out = row("vae", {}, "vae"), in = row("vae in", {}, "vae");
  ASSERT_FALSE(out.is_null());
  ASSERT_FALSE(in.is_null());
  EXPECT_GT(out["gflop"].get<double>(), 0);
  EXPECT_GT(in["gflop"].get<double>(), 0);
  EXPECT_EQ(in["count"], 3);
}

TEST_F(Bench, says_what_taesd_costs_beside_the_models_own_autoencoder) {
  const io::Json& golden = test::taesd_document()["run"];
  test::write_text(folder_ / "taesd/config.json", golden["config"].dump());
  test::write_formula_checkpoint(folder_ / "taesd/diffusion_pytorch_model.safetensors",
                                 test::read_manifest(golden["tensors"]));
  const io::Json tiny = row("taesd", {"--vae", (folder_ / "taesd").string()}, "vae");
  ASSERT_FALSE(tiny.is_null());
  EXPECT_GT(tiny["exact_seconds"].get<double>(), 0);
  EXPECT_GT(tiny["psnr_db"].get<double>(), 0);
  EXPECT_TRUE(row("taesd", {}, "vae").is_null());
}

}  // namespace
}  // namespace t2v
