// SPDX-License-Identifier: Apache-2.0
// Every container, frame rate and length: what was written is what a reader finds.
#include <algorithm>
#include <cmath>
#include <string_view>

#include "media/compare.hpp"
#include "media_support.hpp"

namespace t2v::media::test {
namespace {

struct Container {
  const char* file;
  double tick;      ///< resolution of its clock in seconds; 0: exact
  double min_psnr;  ///< of the gradient clip at default settings, with a few dB to spare; 0: must
                    ///< be equal
  bool has_clock;
};

// PSNR: the crf 18 / crf 24 / quality 90 codecs measured 38 dB and more on this clip, 255-colour
// GIF 31.
constexpr Container kContainers[] = {
    {"clip.mp4", 0, 36, true},     {"clip.mov", 0, 36, true},    {"clip.mkv", 1e-3, 36, true},
    {"clip.webm", 1e-3, 36, true}, {"clip.gif", 1e-2, 28, true}, {"clip.webp", 1e-3, 34, true},
    {"clip%03d.png", 0, 0, false}, {"clip.y4m", 0, 38, true},
};
constexpr Rational kRates[] = {{8, 1}, {24, 1}, {24000, 1001}, {60, 1}};
constexpr int64_t kLengths[] = {1, 2, 16, 97};
constexpr int64_t kWidth = 64, kHeight = 48;

class ContainerMatrix : public testing::TestWithParam<std::tuple<Container, Rational, int64_t>> {};

TEST_P(ContainerMatrix, Row68_keeps_count_duration_rate_and_pictures) {
  const auto& [container, fps, frames] = GetParam();
  TempFolder folder;
  const fs::path path = folder / container.file;
  write_clip(path, spec_of(kWidth, kHeight, fps), frames);

  const auto video = open_video(path);
  std::vector<uint8_t> rgb;
  int64_t count = 0;
  double mse = 0;
  while (video->next(rgb)) {
    const Picture want = gradient(kWidth, kHeight, count++);
    ASSERT_EQ(video->info().width, kWidth);
    ASSERT_EQ(video->info().height, kHeight);
    mse += compare_frames(want.view(), {.width = kWidth, .height = kHeight, .rgb = rgb}).mse;
  }
  EXPECT_EQ(count, frames);
  if (container.min_psnr == 0) {
    EXPECT_EQ(mse, 0);
  } else {
    EXPECT_GE(10 * std::log10(255 * 255 / (mse / static_cast<double>(frames) + 1e-9)), container.min_psnr);
  }
  const bool is_still = std::string_view(container.file).ends_with(".webp") && frames == 1;
  if (!container.has_clock || is_still) return;

  const bool is_gif = std::string_view(container.file).ends_with(".gif");
  const double rate = is_gif ? std::min(fps.value(), 50.0) : fps.value();  // GIF players keep no more
  // Exact clocks are compared to the microsecond that a double of seconds and AV_TIME_BASE can
  // tell.
  EXPECT_NEAR(video->info().seconds, static_cast<double>(frames) / rate, container.tick + 1e-6);
  EXPECT_EQ(video->info().start_seconds, 0);
  // Containers with a coarse clock and one or two frames can't tell 24 from 23.976.
  if (container.tick == 0) {
    EXPECT_EQ(video->info().fps, fps);
  } else if (frames > 2) {
    EXPECT_NEAR(video->info().fps.value(), rate, 0.02 * rate);
  }
}

INSTANTIATE_TEST_SUITE_P(all, ContainerMatrix,
                         testing::Combine(testing::ValuesIn(kContainers), testing::ValuesIn(kRates),
                                          testing::ValuesIn(kLengths)));

TEST(Containers, Row67_video_is_tagged_bt709_limited_yuv420p) {
  for (const char* name : {"a.mp4", "a.mov", "a.mkv", "a.webm"}) {
    TempFolder folder;
    write_clip(folder / name, spec_of(64, 48), 3);
    const VideoInfo info = open_video(folder / name)->info();
    EXPECT_EQ(info.pix_fmt, "yuv420p") << name;
    EXPECT_EQ(info.matrix, "bt709") << name;
    EXPECT_EQ(info.range, "tv") << name;
    EXPECT_EQ(info.primaries, "bt709") << name;
    EXPECT_EQ(info.transfer, "bt709") << name;
  }
}

/// Names of an MP4's top-level boxes, in order.
std::string top_level_boxes(const std::vector<uint8_t>& file) {
  std::string names;
  for (size_t at = 0; at + 8 <= file.size();) {
    const size_t size = size_t{file[at]} << 24 | size_t{file[at + 1]} << 16 | size_t{file[at + 2]} << 8 | file[at + 3];
    names.append(file.begin() + static_cast<ptrdiff_t>(at + 4), file.begin() + static_cast<ptrdiff_t>(at + 8));
    names += ' ';
    if (size < 8) break;
    at += size;
  }
  return names;
}

TEST(Containers, Row71_mp4_index_comes_before_the_pictures) {
  TempFolder folder;
  for (const char* name : {"a.mp4", "a.mov"}) {
    write_clip(folder / name, spec_of(64, 48), 97);
    const std::string boxes = top_level_boxes(read_bytes(folder / name));
    ASSERT_NE(boxes.find("moov"), std::string::npos) << boxes;
    ASSERT_NE(boxes.find("mdat"), std::string::npos) << boxes;
    EXPECT_LT(boxes.find("moov"), boxes.find("mdat")) << boxes;
  }
}

TEST(Containers, Row79_same_frames_give_the_same_bytes) {
  for (const char* name : {"a.mp4", "a.mov", "a.mkv", "a.webm", "a.gif", "a.webp", "a.y4m", "a.png"}) {
    TempFolder folder;
    VideoSpec spec = spec_of(96, 64);
    spec.metadata = "{\"prompt\":\"x\"}";
    spec.overwrite = true;
    const int64_t frames = std::string_view(name) == "a.png" ? 1 : 20;
    write_clip(folder / name, spec, frames);
    const auto first = read_bytes(folder / name);
    write_clip(folder / name, spec, frames);
    EXPECT_TRUE(first == read_bytes(folder / name)) << name;
  }
}

TEST(Containers, other_codecs_and_pixel_formats_work) {
  struct Row {
    const char *file, *codec, *pix_fmt;
    double min_psnr;
  };
  // ffv1 and x264rgb are lossless or nearly; 10 bit and 4:4:4 keep more than the 8-bit 4:2:0
  // default.
  const Row rows[] = {{"a.mkv", "ffv1", "bgr0", 90},        {"a.mp4", "h264", "yuv444p", 38},
                      {"a.mp4", "libx264rgb", "rgb24", 38}, {"a.mp4", "libx264", "yuv420p10le", 38},
                      {"a.mkv", "libx264", "yuv422p", 38},  {"a.mp4", "hevc", "", 34},
                      {"a.mkv", "mpeg4", "", 34},           {"a.webm", "vp8", "", 34}};
  for (const Row& row : rows) {
    TempFolder folder;
    VideoSpec spec = spec_of(64, 48);
    spec.codec = row.codec;
    spec.pix_fmt = row.pix_fmt;
    write_clip(folder / row.file, spec, 5);
    write_clip(folder / "reference%02d.png", spec_of(64, 48), 5);
    const VideoDifference difference = compare_videos(folder / "reference%02d.png", folder / row.file);
    EXPECT_EQ(difference.frames_b, 5) << row.codec << " " << row.pix_fmt;
    EXPECT_GE(difference.psnr, row.min_psnr) << row.codec << " " << row.pix_fmt;
  }
}

}  // namespace
}  // namespace t2v::media::test
