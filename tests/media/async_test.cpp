// SPDX-License-Identifier: Apache-2.0
// The worker before a sink: order, errors, cancelling, and memory that does not grow.
#include <atomic>
#include <chrono>
#include <thread>

#include "media/async_sink.hpp"
#include "media_support.hpp"

namespace t2v::media::test {
namespace {

struct Record {
  std::vector<uint8_t> first_bytes;
  int64_t fail_at = -1;
  std::atomic<int> finished{0}, destroyed{0};
  int delay_ms = 0;
};

class RecordingSink final : public FrameSink {
 public:
  explicit RecordingSink(Record& record) : record_(&record) {}
  ~RecordingSink() override { ++record_->destroyed; }
  void write(const FrameView& frame) override {
    if (record_->delay_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(record_->delay_ms));
    if (static_cast<int64_t>(record_->first_bytes.size()) == record_->fail_at) {
      throw Error(ErrorCode::output, "can't write: disk full");
    }
    record_->first_bytes.push_back(frame.rgb[0]);
  }
  void finish() override { ++record_->finished; }

 private:
  Record* record_;
};

Picture numbered(int index) { return {4, 2, std::vector<uint8_t>(24, static_cast<uint8_t>(index))}; }

TEST(AsyncSink, passes_every_frame_in_order) {
  Record record;
  AsyncSink sink(std::make_unique<RecordingSink>(record));
  for (int i = 0; i < 200; ++i) sink.write(numbered(i).view());
  sink.finish();
  ASSERT_EQ(record.first_bytes.size(), 200U);
  for (size_t i = 0; i < 200; ++i) EXPECT_EQ(record.first_bytes[i], i);
  EXPECT_EQ(record.finished, 1);
}

/// Keeps the planes it gets.
class PlanesSink final : public FrameSink, private Yuv420Sink {
 public:
  explicit PlanesSink(std::vector<std::vector<uint8_t>>& written) : written_(written) {}
  void write(const FrameView& frame) override { written_.emplace_back(frame.rgb.begin(), frame.rgb.end()); }
  void finish() override {}
  Yuv420Sink* yuv420() override { return this; }

 private:
  void write_yuv420(const Yuv420View& frame) override {
    auto& all = written_.emplace_back();
    for (const auto plane : {frame.y, frame.u, frame.v}) all.insert(all.end(), plane.begin(), plane.end());
  }
  std::vector<std::vector<uint8_t>>& written_;
};

TEST(AsyncSink, passes_planes_between_rgb_in_order) {
  std::vector<std::vector<uint8_t>> written;
  AsyncSink sink(std::make_unique<PlanesSink>(written));
  ASSERT_NE(sink.yuv420(), nullptr);
  const std::vector<uint8_t> y{1, 2, 3, 4, 5, 6, 7, 8}, u{9, 10}, v{11, 12};
  for (int i = 0; i < 20; ++i) {
    sink.write(numbered(i).view());
    sink.yuv420()->write_yuv420({.width = 4, .height = 2, .y = y, .u = u, .v = v});
  }
  sink.finish();
  ASSERT_EQ(written.size(), 40U);
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(written[2 * i], std::vector<uint8_t>(24, static_cast<uint8_t>(i)));
    EXPECT_EQ(written[2 * i + 1], (std::vector<uint8_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  }
  Record record;
  EXPECT_EQ(AsyncSink(std::make_unique<RecordingSink>(record)).yuv420(), nullptr);
}

TEST(AsyncSink, Row89_an_error_comes_back_at_a_later_write) {
  Record record;
  record.fail_at = 3;
  AsyncSink sink(std::make_unique<RecordingSink>(record));
  const std::string message = error_of(ErrorCode::output, [&] {
    for (int i = 0; i < 1000; ++i) sink.write(numbered(i).view());
  });
  EXPECT_NE(message.find("disk full"), std::string::npos);
  error_of(ErrorCode::output, [&] { sink.finish(); });
  EXPECT_EQ(record.finished, 0);
}

TEST(AsyncSink, an_error_of_the_last_frame_comes_back_at_finish) {
  Record record;
  record.fail_at = 1;
  record.delay_ms = 20;
  AsyncSink sink(std::make_unique<RecordingSink>(record));
  sink.write(numbered(0).view());
  sink.write(numbered(1).view());
  error_of(ErrorCode::output, [&] { sink.finish(); });
  EXPECT_EQ(record.finished, 0);
}

TEST(AsyncSink, destruction_without_finish_drops_the_queue) {
  Record record;
  record.delay_ms = 20;
  {
    AsyncSink sink(std::make_unique<RecordingSink>(record));
    for (int i = 0; i < 3; ++i) sink.write(numbered(i).view());
  }
  EXPECT_LT(record.first_bytes.size(), 3U);
  EXPECT_EQ(record.finished, 0);
  EXPECT_EQ(record.destroyed, 1);
}

TEST(AsyncSink, writing_waits_when_the_queue_is_full) {
  Record record;
  record.delay_ms = 5;
  AsyncSink sink(std::make_unique<RecordingSink>(record), 2);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 12; ++i) sink.write(numbered(i).view());
  // At most two buffers are ahead of the slow sink, so ten of its twelve waits have passed.
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(10 * 5 - 10));
  sink.finish();
}

}  // namespace
}  // namespace t2v::media::test
