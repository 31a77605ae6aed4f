// SPDX-License-Identifier: Apache-2.0
// Frames that come as planes: the files are those of the same frames as RGB, and only sinks that store such planes ask
// for them.
#include "media/color.hpp"
#include "media/sinks.hpp"
#include "media_support.hpp"

namespace t2v::media::test {
namespace {

struct Planes {
  explicit Planes(const Picture& picture)
      : width(picture.width),
        height(picture.height),
        y(static_cast<size_t>(width * height)),
        u(y.size() / 4),
        v(y.size() / 4) {
    rgb_to_yuv420_bt709(picture.rgb.data(), width, height, {y.data(), u.data(), v.data(), width, width / 2});
  }
  Yuv420View view() const { return {.width = width, .height = height, .y = y, .u = u, .v = v}; }
  int64_t width, height;
  std::vector<uint8_t> y, u, v;
};

constexpr int64_t kFrames = 9, kWidth = 70, kHeight = 46;  // rows that libav pads

/// Every `step`th frame comes as planes, the others as RGB.
void write_planes(const fs::path& path, const VideoSpec& spec, int64_t step) {
  const auto sink = open_sink(path, spec);
  ASSERT_NE(sink->yuv420(), nullptr);
  for (int64_t i = 0; i < kFrames; ++i) {
    const Picture picture = gradient(spec.width, spec.height, i);
    if (i % step == 0) {
      sink->yuv420()->write_yuv420(Planes(picture).view());
    } else {
      sink->write(picture.view());
    }
  }
  sink->finish();
}

TEST(Yuv420, planes_give_the_file_that_rgb_gives) {
  const TempFolder folder;
  for (const std::string format : {"mp4", "mov", "mkv", "webm"}) {
    const fs::path plain = folder / ("rgb." + format), planes = folder / ("planes." + format),
                   mixed = folder / ("mixed." + format);
    write_clip(plain, spec_of(kWidth, kHeight), kFrames);
    write_planes(planes, spec_of(kWidth, kHeight), 1);
    write_planes(mixed, spec_of(kWidth, kHeight), 2);
    EXPECT_EQ(read_bytes(planes), read_bytes(plain)) << format;
    EXPECT_EQ(read_bytes(mixed), read_bytes(plain)) << format;
  }
}

TEST(Yuv420, sinks_that_store_something_else_take_rgb_only) {
  const TempFolder folder;
  const auto takes_planes = [&](const std::string& name, const std::string& codec, const std::string& pix_fmt) {
    VideoSpec spec = spec_of(kWidth, kHeight);
    spec.codec = codec;
    spec.pix_fmt = pix_fmt;
    return open_sink(folder / name, spec)->yuv420() != nullptr;
  };
  EXPECT_TRUE(takes_planes("a.mp4", "", "yuv420p"));
  EXPECT_FALSE(takes_planes("b.mp4", "", "yuv444p"));
  EXPECT_FALSE(takes_planes("c.mp4", "", "yuvj420p")) << "full range";
  EXPECT_FALSE(takes_planes("d.mp4", "", "yuv420p10le"));
  EXPECT_FALSE(takes_planes("e.webm", "libvpx", "")) << "VP8 is BT.601";
  for (const char* name : {"f.gif", "g.webp", "h.png", "i%02d.png", "j.y4m"}) {
    EXPECT_FALSE(takes_planes(name, "", "")) << name;
  }
}

}  // namespace
}  // namespace t2v::media::test
