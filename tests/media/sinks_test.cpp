// SPDX-License-Identifier: Apache-2.0
// The table of formats, frame patterns, and everything a user can get wrong about an output before
// a frame is made.
#include "media/sinks.hpp"

#include <unistd.h>

#include <fstream>

#include "media/encoder.hpp"
#include "media/png_file.hpp"
#include "media_support.hpp"

namespace t2v::media::test {
namespace {

TEST(Formats, are_known_by_extension_in_any_case) {
  EXPECT_EQ(format_from_path("a.mp4"), "mp4");
  EXPECT_EQ(format_from_path("a.b/c.MKV"), "mkv");
  EXPECT_EQ(format_from_path("x.M4V"), "mp4");
  EXPECT_EQ(format_from_path("f%04d.png"), "png");
  EXPECT_EQ(format_from_path("-"), "y4m");
  EXPECT_EQ(format_from_path("-", "mp4"), "mp4");
  EXPECT_EQ(format_from_path("whatever", "GIF"), "gif");
  EXPECT_EQ(format_from_path("whatever", "null"), "null");
}

TEST(Formats, Row62_unknown_ones_are_usage_errors_with_the_known_list) {
  for (const char* path : {"a.xyz", "a", "a.b/c", "mp4", ".mp4", "a."}) {
    const std::string message = error_of(ErrorCode::usage, [&] { format_from_path(path); });
    EXPECT_NE(message.find(".mp4"), std::string::npos) << message;
    EXPECT_NE(message.find(".webm"), std::string::npos) << message;
  }
  EXPECT_NE(error_of(ErrorCode::usage, [] { format_from_path("a", "mp5"); }).find("did you mean 'mp4'"),
            std::string::npos);
  error_of(ErrorCode::usage, [] { format_from_path(""); });
}

TEST(Formats, every_row_says_what_it_is) {
  for (const SinkRow& row : sink_rows()) {
    EXPECT_FALSE(row.name.empty());
    EXPECT_FALSE(row.about.empty());
    EXPECT_NE(row.open, nullptr);
  }
}

TEST(Patterns, make_and_recognise_names) {
  const auto pattern = FramePattern::parse("out/f%04d.png").value();
  EXPECT_EQ(pattern.file(7), fs::path("out/f0007.png"));
  EXPECT_EQ(pattern.file(12345), fs::path("out/f12345.png"));
  EXPECT_EQ(pattern.index_of("f0007.png"), 7);
  EXPECT_EQ(pattern.index_of("f12345.png"), 12345);
  EXPECT_EQ(pattern.index_of("f007.png"), std::nullopt);
  EXPECT_EQ(pattern.index_of("f00007.png"), std::nullopt);
  EXPECT_EQ(pattern.index_of("f-007.png"), std::nullopt);
  EXPECT_EQ(FramePattern::parse("%d.png")->file(3), fs::path("3.png"));
  EXPECT_EQ(FramePattern::parse("100%%_%3d.png")->file(3), fs::path("100%_  3.png"));
  EXPECT_FALSE(FramePattern::parse("plain.png"));
  EXPECT_FALSE(FramePattern::parse("50%d/plain.png"));  // only the file name counts
}

TEST(Patterns, anything_else_after_a_percent_sign_is_refused) {
  for (const char* name : {"%.png", "%s.png", "%x.png", "a%04d%d.png", "%04.png", "%-4d.png", "%999d.png", "100%.png",
                           "50%%.png", "%n.png", "%4$d.png"}) {
    const std::string message = error_of(ErrorCode::usage, [&] { FramePattern::parse(name); });
    EXPECT_NE(message.find("%04d"), std::string::npos) << message;
  }
}

TEST(Settings, Row65_odd_sizes_are_refused_with_the_nearest_even_one) {
  TempFolder folder;
  for (const char* name : {"a.mp4", "a.mov", "a.mkv", "a.webm", "a.y4m"}) {
    const std::string message = error_of(ErrorCode::usage, [&] { open_sink(folder / name, spec_of(65, 67)); });
    EXPECT_NE(message.find("65x67"), std::string::npos) << message;
    EXPECT_NE(message.find("66x68"), std::string::npos) << message;
  }
  EXPECT_TRUE(folder.names().empty());
}

TEST(Settings, odd_sizes_work_where_chroma_is_not_halved) {
  TempFolder folder;
  for (const char* name : {"a.gif", "a.webp", "a%d.png", "a.mp4"}) {
    VideoSpec spec = spec_of(65, 67);
    if (std::string_view(name) == "a.mp4") spec.pix_fmt = "yuv444p";
    write_clip(folder / name, spec, 3);
    const auto video = open_video(folder / name);
    EXPECT_EQ(video->info().width, 65) << name;
    EXPECT_EQ(video->info().height, 67) << name;
  }
}

TEST(Settings, bad_values_are_usage_errors_that_name_the_flag) {
  struct Row {
    const char* want;
    void (*set)(VideoSpec&);
    const char* file;
  };
  const Row rows[] = {
      {"did you mean 'libx264'", [](VideoSpec& s) { s.codec = "libx246"; }, "a.mp4"},
      {"--codec", [](VideoSpec& s) { s.codec = "nonsense-codec"; }, "a.mp4"},
      {"webm can hold", [](VideoSpec& s) { s.codec = "h264"; }, "a.webm"},
      {"did you mean 'yuv420p'", [](VideoSpec& s) { s.pix_fmt = "yuv42p"; }, "a.mp4"},
      {"did you mean 'slow'", [](VideoSpec& s) { s.preset = "slwo"; }, "a.mp4"},
      {"--crf", [](VideoSpec& s) { s.crf = 52; }, "a.mp4"},
      {"--crf", [](VideoSpec& s) { s.crf = 20; }, "a.gif"},
      {"--crf",
       [](VideoSpec& s) {
         s.crf = 20;
         s.codec = "ffv1";
       },
       "a.mkv"},
      {"--preset", [](VideoSpec& s) { s.preset = "slow"; }, "a.png"},
      {"--codec", [](VideoSpec& s) { s.codec = "libx264"; }, "a.y4m"},
      {"--pix-fmt", [](VideoSpec& s) { s.pix_fmt = "yuv410p"; }, "a.y4m"},
      {"--fps",
       [](VideoSpec& s) {
         s.fps = {0, 1};
       },
       "a.mp4"},
      {"--fps",
       [](VideoSpec& s) {
         s.fps = {-8, 1};
       },
       "a.gif"},
      {"--fps",
       [](VideoSpec& s) {
         s.fps = {8, 0};
       },
       "a.mkv"},
      {"--fps",
       [](VideoSpec& s) {
         s.fps = {1'000'000, 1};
       },
       "a.webp"},
      {"video size", [](VideoSpec& s) { s.width = 0; }, "a.mp4"},
      {"video size", [](VideoSpec& s) { s.width = -2; }, "a.gif"},
      {"video size", [](VideoSpec& s) { s.height = 1 << 20; }, "a.png"},
      {"wanted one frame for one PNG", [](VideoSpec& s) { s.frames = 16; }, "a.png"},
  };
  for (const Row& row : rows) {
    TempFolder folder;
    VideoSpec spec = spec_of(32, 32);
    row.set(spec);
    const std::string message = error_of(ErrorCode::usage, [&] { open_sink(folder / row.file, spec); });
    EXPECT_NE(message.find(row.want), std::string::npos) << row.want << ": " << message;
    EXPECT_TRUE(folder.names().empty()) << message;
  }
}

TEST(Settings, Row77_an_unknown_encoder_option_is_named) {
  EncoderRequest request{
      .width = 32, .height = 32, .codecs = {"libx264"}, .pix_fmt = {}, .preset = {}, .options = {{"crff", "1"}}};
  const std::string message = error_of(ErrorCode::usage, [&] { VideoEncoder encoder(request); });
  EXPECT_NE(message.find("crff"), std::string::npos) << message;
  EXPECT_NE(message.find("did you mean 'crf'"), std::string::npos) << message;
}

TEST(Settings, Row63_a_missing_encoder_falls_back_to_the_next) {
  EncoderRequest request{
      .width = 32, .height = 32, .codecs = {"not-built-in", "mpeg4"}, .pix_fmt = {}, .preset = {}, .options = {}};
  EXPECT_EQ(VideoEncoder(request).name(), "mpeg4");
  request.codecs = {"not-built-in"};
  error_of(ErrorCode::unsupported, [&] { VideoEncoder encoder(request); });
}

TEST(Settings, strange_rates_are_reduced) {
  EXPECT_EQ(checked_fps({24, 2}), (Rational{12, 1}));
  EXPECT_EQ(checked_fps({25, 2}), (Rational{25, 2}));
  const Rational close = checked_fps({2'397'602'397'602'398, 100'000'000'000'000});
  EXPECT_NEAR(close.value(), 24000.0 / 1001, 1e-9);
  EXPECT_LE(close.num, 1'000'000);
}

TEST(HashSink, prints_a_sum_a_frame_and_one_for_all) {
  TempFolder folder;
  VideoSpec spec = spec_of(1, 1);
  spec.format = "hash";
  auto sink = open_sink(folder / "sums.txt", spec);
  const uint8_t abc[] = {'a', 'b', 'c'};
  sink->write({.width = 1, .height = 1, .rgb = abc});
  sink->finish();
  const auto bytes = read_bytes(folder / "sums.txt");
  // SHA-256 of "abc", FIPS 180-2 appendix B.1.
  const std::string sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), "0 " + sum + "\nall " + sum + " 1x1x1\n");
}

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

TEST(Sinks, Row88_memory_does_not_grow_with_the_clip) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep freed memory";
#endif
  for (const char* name : {"long.mp4", "long.gif", "long.webp", "long.mkv"}) {
    TempFolder folder;
    auto sink = open_sink(folder / name, spec_of(64, 64, {24, 1}));
    int64_t settled = 0;
    for (int i = 0; i < 2000; ++i) {
      sink->write(gradient(64, 64, i).view());
      if (i == 200) settled = resident_bytes();
    }
    const int64_t growth = resident_bytes() - settled;
    sink->finish();
    // x264's look-ahead and the muxer's index (some 50 bytes a frame) are all that may still move;
    // 1,800 frames of 12 KiB would be 22 MB.
    EXPECT_LT(growth, 4 << 20) << name;
  }
}

}  // namespace
}  // namespace t2v::media::test
