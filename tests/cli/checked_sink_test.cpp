// SPDX-License-Identifier: Apache-2.0
// What is watched of frames in either form.
#include "commands/checked_sink.hpp"

#include <vector>

#include <gtest/gtest.h>

#include "t2v/error.hpp"

namespace t2v::commands {
namespace {

/// Counts frames of either form.
class CountingSink final : public FrameSink, private Yuv420Sink {
 public:
  struct Counts {
    int rgb = 0, planes = 0, finished = 0;
  };
  CountingSink(Counts& counts, bool takes_planes) : counts_(counts), takes_planes_(takes_planes) {}
  void write(const FrameView&) override { ++counts_.rgb; }
  void finish() override { ++counts_.finished; }
  Yuv420Sink* yuv420() override { return takes_planes_ ? this : nullptr; }

 private:
  void write_yuv420(const Yuv420View&) override { ++counts_.planes; }
  Counts& counts_;
  bool takes_planes_;
};

class CheckedSinkTest : public testing::Test {
 protected:
  void write_rgb(uint8_t value) {
    const std::vector<uint8_t> rgb(4 * 2 * 3, value);
    sink_.write({.width = 4, .height = 2, .rgb = rgb});
  }
  void write_planes(std::vector<uint8_t> y, uint8_t chroma = 128) {
    const std::vector<uint8_t> c(2, chroma);
    sink_.yuv420()->write_yuv420({.width = 4, .height = 2, .y = y, .u = c, .v = c});
  }
  CountingSink::Counts counts_;
  CheckedSink sink_{std::make_unique<CountingSink>(counts_, /*takes_planes=*/true)};
};

TEST_F(CheckedSinkTest, hands_both_forms_on_and_counts_them) {
  write_planes({16, 16, 16, 16, 16, 16, 16, 17});
  write_rgb(3);
  sink_.finish();
  EXPECT_EQ(counts_.planes, 1);
  EXPECT_EQ(counts_.rgb, 1);
  EXPECT_EQ(counts_.finished, 1);
  EXPECT_EQ(sink_.frames(), 2);
}

TEST_F(CheckedSinkTest, asks_the_inner_sink_which_forms_it_takes) {
  CountingSink::Counts counts;
  CheckedSink rgb_only(std::make_unique<CountingSink>(counts, /*takes_planes=*/false));
  EXPECT_EQ(rgb_only.yuv420(), nullptr);
  EXPECT_NE(sink_.yuv420(), nullptr);
}

TEST_F(CheckedSinkTest, Row44_black_planes_are_refused_like_black_rgb) {
  write_planes(std::vector<uint8_t>(8, 16));
  write_planes(std::vector<uint8_t>(8, 16));
  write_rgb(0);
  EXPECT_THROW(sink_.finish(), Error);
  EXPECT_EQ(counts_.finished, 0);
}

TEST_F(CheckedSinkTest, one_coloured_frame_among_black_ones_is_a_picture) {
  write_planes(std::vector<uint8_t>(8, 16));
  write_planes(std::vector<uint8_t>(8, 16), /*chroma=*/129);
  write_planes(std::vector<uint8_t>(8, 16));
  EXPECT_NO_THROW(sink_.finish());
}

}  // namespace
}  // namespace t2v::commands
