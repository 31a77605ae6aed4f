// SPDX-License-Identifier: Apache-2.0
// Long clips of every family through the program: all frames arrive, and four times the frames take no more memory than
// their latents.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cli/run_program.hpp"
#include "io/config.hpp"
#include "support/sd_checkpoint.hpp"
#include "support/svd_checkpoint.hpp"
#include "support/tiny_checkpoint.hpp"

namespace t2v {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

constexpr int64_t kSide = 64;

class LongClip : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "t2v-clip-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Writes the family's tiny checkpoint and says how to run it.
  Words model() const {
    const std::string family = GetParam(), path = (folder_ / "model").string();
    if (family == "svd") {
      test::write_svd_checkpoint(path);
      // Few frames decoded at once: what large blocks leave of the heap fills up over some hundred frames.
      return {"-m", path, "--image", test::write_picture(folder_, kSide, kSide).string(), "--cfg-scale", "1",
              "--context", "16", "--decode-chunk", "4"};
    }
    if (family == "modelscope") {
      const io::Json golden = test::pipelines_golden();
      test::write_tiny_checkpoint(path, golden, golden["runs"]["default"]["scheduler"]);
      return {"-m", path, "-p", "x", "--cfg-scale", "1"};
    }
    test::write_sd_folder(path, "sd1", test::sd_golden()["runs"]["animate_v3"]["scheduler"]);
    const std::string adapter = (folder_ / "adapter").string();
    test::write_adapter_folder(adapter, "v3");
    return {"-m", path, "--motion-module", adapter, "-p", "x", "--cfg-scale", "1"};
  }

  struct Clip {
    size_t bytes = 0;
    int64_t peak = 0;
  };
  Clip run(const Words& model, int64_t frames) const {
    const std::string output = (folder_ / "clip.y4m").string(), side = std::to_string(kSide);
    Words words{std::string(T2V_BINARY_DIR) + "/t2v", "-s", "1", "--frames", std::to_string(frames), "--size",
                side + "x" + side, "--steps", "1", "-t", "1", "-y", "-o", output, "--progress", "json"};
    words.insert(words.end(), model.begin(), model.end());
    const auto result = testing_support::run_program(words);
    EXPECT_EQ(result.code, 0) << result.err;
    const size_t done = result.err.rfind("{\"event\":\"done\"");
    if (result.code != 0 || done == std::string::npos) return {};
    const std::string line = result.err.substr(done, result.err.find('\n', done) - done);
    const Clip clip{fs::file_size(output), io::parse_json(line, "done")["peak_rss_bytes"].get<int64_t>()};
    fs::remove(output);
    return clip;
  }

  fs::path folder_;
};

TEST_P(LongClip, of_512_frames_takes_the_memory_of_128_and_its_latents) {
  const Words words = model();
  // Up to 128 frames the heap still meets sizes that are new to it.
  constexpr int64_t kFrame = 6 + kSide * kSide * 3 / 2, kHeader = 200;  // FRAME and a picture in 4:2:0
  // State, network input, sum, prediction, the sampler's step and its history; then what allocators keep by chance.
  constexpr int64_t kMore = 512 - 128, kLatents = kMore * 4 * (kSide / 8) * (kSide / 8) * 4, kChance = 8 << 20;
  // What chance adds differs from run to run, what frames add does not: the least of three says.
  int64_t growth = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    const Clip shorter = run(words, 128), longer = run(words, 512);
    EXPECT_NEAR(static_cast<double>(shorter.bytes), 128.0 * kFrame, kHeader);
    EXPECT_NEAR(static_cast<double>(longer.bytes), 512.0 * kFrame, kHeader);
    growth = longer.peak - shorter.peak;
    RecordProperty("peak_of_128", std::to_string(shorter.peak));
    RecordProperty("growth", std::to_string(growth));
    if (growth <= 6 * kLatents + kChance) break;
  }
  EXPECT_LE(growth, 6 * kLatents + kChance);
  // Decoded frames alone would be half as much again, at the very least.
  static_assert(2 * kMore * kSide * kSide * 3 * 4 >= 3 * (6 * kLatents + kChance));
}

INSTANTIATE_TEST_SUITE_P(Families, LongClip, testing::Values("modelscope", "animatediff", "svd"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace t2v
