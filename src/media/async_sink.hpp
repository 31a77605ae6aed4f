// SPDX-License-Identifier: Apache-2.0
// A sink with a worker thread before it: while frame k is converted and encoded, the caller already
// makes frame k+1.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "t2v/frame_sink.hpp"

namespace t2v::media {

/// write() copies the frame into one of `depth` recycled buffers and waits when all are full, so
/// memory does not grow with the clip. An exception of the inner sink is thrown by the next write()
/// or finish(). Destroying it without finish() drops what is queued and the inner sink with it. One
/// thread may call it at a time; the inner sink is used by the worker until finish(), which runs
/// its finish() in the caller's thread.
class AsyncSink final : public FrameSink, private Yuv420Sink {
 public:
  explicit AsyncSink(std::unique_ptr<FrameSink> inner, size_t depth = 3);
  ~AsyncSink() override;
  void write(const FrameView& frame) override;
  void finish() override;
  /// The inner sink's answer.
  Yuv420Sink* yuv420() override { return inner_yuv420_ ? this : nullptr; }

 private:
  struct Slot {
    int64_t width = 0, height = 0;
    bool is_yuv420 = false;
    std::vector<uint8_t> bytes;  // RGB, or three planes one after another
  };

  void write_yuv420(const Yuv420View& frame) override;
  Slot free_slot();
  void enqueue(Slot slot);
  void write_inner(const Slot& slot);
  void work();
  void stop(bool drop_queue) noexcept;
  void rethrow_locked();

  std::unique_ptr<FrameSink> inner_;
  Yuv420Sink* inner_yuv420_;
  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::vector<Slot> free_;
  std::deque<Slot> queue_;
  std::exception_ptr error_;
  bool closing_ = false;
  std::thread worker_;  // last: starts when everything else is ready
};

std::unique_ptr<FrameSink> make_async(std::unique_ptr<FrameSink> inner);

}  // namespace t2v::media
