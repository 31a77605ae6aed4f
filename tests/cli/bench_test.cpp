// SPDX-License-Identifier: Apache-2.0
// What `t2v bench` says, on a tiny checkpoint: that it adds up, never how fast it is.
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "cli/run_program.hpp"
#include "io/config.hpp"
#include "support/svd_checkpoint.hpp"
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

  static testing_support::ProgramResult bench(const std::vector<std::string>& words) {
    std::vector<std::string> line{testing_support::program_path(), "bench"};
    line.insert(line.end(), words.begin(), words.end());
    return testing_support::run_program(line);
  }

  /// The row of a part, or null.
  io::Json row(const std::string& part, std::vector<std::string> flags, const std::string& measured = "unet") const {
    std::vector<std::string> line{testing_support::program_path(),
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

TEST_F(Bench, counts_the_arithmetic_of_the_text_that_is_encoded) {
  const io::Json text = row("text", {}, "text");
  ASSERT_FALSE(text.is_null());
  // The encoder by its config: four products of D x D and two of D x M a token, and attention; for two prompts.
  const io::Json config = io::load_json(folder_ / "model/text_encoder/config.json");
  const auto number = [&](const char* key) { return config[key].get<double>(); };
  const double width = number("hidden_size"), inner = number("intermediate_size");
  const double tokens = number("max_position_embeddings");
  const double layer = 2 * tokens * (4 * width * width + 2 * width * inner) + 4 * tokens * tokens * width;
  EXPECT_DOUBLE_EQ(text["gflop"].get<double>(), 2 * number("num_hidden_layers") * layer / 1e9);
  EXPECT_GT(text["gflop_per_second"].get<double>(), 0);
  EXPECT_GT(text["share_of_gemm"].get<double>(), 0);
  EXPECT_GE(text["median_cpu_seconds"].get<double>(), 0);
  // Without guidance one prompt is read.
  EXPECT_DOUBLE_EQ(row("text", {"--cfg-scale", "1"}, "text")["gflop"].get<double>(), text["gflop"].get<double>() / 2);
}

TEST_F(Bench, profiles_what_the_rows_count) {
  const auto result = bench({"all", "--json", "--profile", "-m", (folder_ / "model").string(), "--size", "32x32",
                             "--frames", "2", "--steps", "3", "--seed", "1", "-t", "1", "-p", "a cat"});
  ASSERT_EQ(result.code, 0) << result.err;
  const io::Json document = io::Json::parse(result.out);
  for (const char* part : {"text", "vae in"}) {
    double counted = 0, profiled = 0;
    for (const auto& item : document["rows"]) {
      if (item["part"] == part) counted = item["gflop"].get<double>();
    }
    for (const auto& item : document["profile"]) {
      if (item["part"] == part) profiled += item["gflop"].get<double>();
    }
    EXPECT_GT(counted, 0) << part;
    EXPECT_NEAR(profiled, counted, 1e-9 * counted) << part;
  }
}

TEST_F(Bench, says_how_much_is_loaded_and_how_fast) {
  uintmax_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "model")) {
    if (entry.path().extension() == ".safetensors") bytes += entry.file_size();
  }
  const io::Json load = row("load", {}, "load");
  EXPECT_DOUBLE_EQ(load["gb"].get<double>(), static_cast<double>(bytes) / 1e9);
  EXPECT_GT(load["gb_per_second"].get<double>(), 0);
  const auto text = bench({"load", "-m", (folder_ / "model").string(), "-t", "1"});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_NE(text.out.find(" GB/s\n"), std::string::npos) << text.out;
}

TEST_F(Bench, draws_a_picture_for_a_model_that_sets_one_in_motion) {
  test::write_svd_checkpoint(folder_ / "svd");
  const std::vector<std::string> line{
      "all", "--json",   "-m", (folder_ / "svd").string(), "--size", "64x48", "-t", "1", "-s", "1", "--steps",
      "3",   "--frames", "2"};
  const auto drawn = bench(line);
  ASSERT_EQ(drawn.code, 0) << drawn.err;
  const io::Json document = io::Json::parse(drawn.out);
  std::vector<std::string> parts;
  for (const auto& item : document["rows"]) {
    parts.push_back(item["part"]);
    EXPECT_GT(item["count"].get<int>(), 0) << item;
    if (item["part"] == "text") {
      EXPECT_EQ(item["unit"], "image");
      EXPECT_GT(item["gflop"].get<double>(), 0) << "of the image encoder";
    }
  }
  EXPECT_EQ(parts, (std::vector<std::string>{"load", "text", "unet", "vae", "vae in", "whole", "convert", "encode"}));
  EXPECT_EQ(drawn.err.find("stretched"), std::string::npos) << "the picture has the video's shape";
  // One of the user's own is taken, and looked at before any work.
  std::vector<std::string> own = line;
  own.insert(own.end(), {"--image", (folder_ / "none.png").string()});
  EXPECT_EQ(bench(own).code, 3);
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
