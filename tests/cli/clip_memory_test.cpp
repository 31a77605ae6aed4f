// SPDX-License-Identifier: Apache-2.0
// Long clips of every family through the program: all frames arrive, and four times the frames take no more memory than
// their latents.
#include <filesystem>
#include <sstream>
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
      // Few frames decoded at once: many chunks.
      return {"-m",
              path,
              "--image",
              test::write_picture(folder_, kSide, kSide).string(),
              "--cfg-scale",
              "1",
              "--context",
              "16",
              "--decode-chunk",
              "4"};
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

  /// The program's peak memory, read at its steps.
  struct Peaks {
    int64_t denoised = 0;          // when the last latents were there
    int64_t early = 0, whole = 0;  // with kEarly frames decoded, and at the end
  };
  static constexpr int64_t kEarly = 128;

  Peaks run(const Words& model, int64_t frames) const {
    const std::string output = (folder_ / "clip.y4m").string(), side = std::to_string(kSide);
    Words words{std::string(T2V_BINARY_DIR) + "/t2v",
                "-s",
                "1",
                "--frames",
                std::to_string(frames),
                "--size",
                side + "x" + side,
                "--steps",
                "1",
                "-t",
                "1",
                "-y",
                "-o",
                output,
                "--progress",
                "json"};
    words.insert(words.end(), model.begin(), model.end());
    const auto result = testing_support::run_program(words);
    EXPECT_EQ(result.code, 0) << result.err;
    if (result.code != 0) return {};
    EXPECT_NEAR(static_cast<double>(fs::file_size(output)), static_cast<double>(frames * kFrame), kHeader);
    Peaks peaks;
    std::istringstream lines(result.err);
    for (std::string line; std::getline(lines, line);) {
      const io::Json event = io::parse_json(line, "event");
      if (!event.contains("peak_rss_bytes")) continue;
      const auto peak = event["peak_rss_bytes"].get<int64_t>();
      const std::string stage = event.value("stage", "");
      if (stage == "denoise") peaks.denoised = peak;
      if (stage == "decode" && event["index"] == kEarly - 1) peaks.early = peak;
      peaks.whole = peak;
    }
    return peaks;
  }

  static constexpr int64_t kFrame = 6 + kSide * kSide * 3 / 2, kHeader = 200;  // FRAME and a picture in 4:2:0
  fs::path folder_;
};

TEST_P(LongClip, of_512_frames_takes_the_memory_of_128_and_its_latents) {
  const Words words = model();
  const Peaks shorter = run(words, kEarly), longer = run(words, 4 * kEarly);
  constexpr int64_t kMore = 3 * kEarly, kPixels = kSide * kSide;
  // State, network input, sum, prediction, the sampler's step and its history; then what allocators keep by chance.
  constexpr int64_t kLatents = kMore * 4 * (kPixels / 64) * 4, kChance = 16 << 20;
  RecordProperty("denoise_growth", std::to_string(longer.denoised - shorter.denoised));
  EXPECT_LE(longer.denoised - shorter.denoised, 6 * kLatents + kChance);
  // Within one run: where two runs of one length end differs by up to 30 MB, with which blocks happen to be neighbours.
  RecordProperty("decode_growth", std::to_string(longer.whole - longer.early));
  constexpr int64_t kDecoded = kMore * kPixels * 3 * 4;
  EXPECT_LE(longer.whole - longer.early, kDecoded / 2);
}

TEST_P(LongClip, reports_the_memory_of_the_program_not_of_who_started_it) {
  const std::vector<char> ours(size_t{1} << 30, 1);
  EXPECT_LT(run(model(), 16).whole, static_cast<int64_t>(ours.size()));
}

INSTANTIATE_TEST_SUITE_P(Families, LongClip, testing::Values("modelscope", "animatediff", "svd"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace t2v
