// SPDX-License-Identifier: Apache-2.0
#include "media/async_sink.hpp"

#include <span>
#include <utility>

#include "core/check.hpp"
#include "core/no_signals.hpp"

namespace t2v::media {

AsyncSink::AsyncSink(std::unique_ptr<FrameSink> inner, size_t depth)
    : inner_(std::move(inner)), inner_yuv420_(inner_->yuv420()), free_(depth) {
  const NoSignals guard;
  worker_ = std::thread([this] { work(); });
}

AsyncSink::~AsyncSink() { stop(true); }

AsyncSink::Slot AsyncSink::free_slot() {
  std::unique_lock lock(mutex_);
  T2V_CHECK(!closing_, "write() comes before finish()");
  changed_.wait(lock, [&] { return error_ || !free_.empty(); });
  rethrow_locked();
  Slot slot = std::move(free_.back());
  free_.pop_back();
  slot.bytes.clear();  // the capacity stays from the first round on
  return slot;
}

void AsyncSink::enqueue(Slot slot) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(slot));
  }
  changed_.notify_all();
}

void AsyncSink::write(const FrameView& frame) {
  Slot slot = free_slot();
  slot.width = frame.width;
  slot.height = frame.height;
  slot.is_yuv420 = false;
  slot.bytes.assign(frame.rgb.begin(), frame.rgb.end());
  enqueue(std::move(slot));
}

void AsyncSink::write_yuv420(const Yuv420View& frame) {
  Slot slot = free_slot();
  slot.width = frame.width;
  slot.height = frame.height;
  slot.is_yuv420 = true;
  for (const auto plane : {frame.y, frame.u, frame.v}) slot.bytes.insert(slot.bytes.end(), plane.begin(), plane.end());
  enqueue(std::move(slot));
}

void AsyncSink::write_inner(const Slot& slot) {
  if (!slot.is_yuv420) return inner_->write({.width = slot.width, .height = slot.height, .rgb = slot.bytes});
  const auto pixels = static_cast<size_t>(slot.width * slot.height);
  const std::span<const uint8_t> bytes = slot.bytes;
  inner_yuv420_->write_yuv420({.width = slot.width,
                               .height = slot.height,
                               .y = bytes.first(pixels),
                               .u = bytes.subspan(pixels, pixels / 4),
                               .v = bytes.last(pixels / 4)});
}

void AsyncSink::finish() {
  stop(false);
  rethrow_locked();  // the worker is gone: no lock needed
  inner_->finish();
}

void AsyncSink::stop(bool drop_queue) noexcept {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    if (drop_queue) queue_.clear();
  }
  changed_.notify_all();
  if (worker_.joinable()) worker_.join();
}

void AsyncSink::rethrow_locked() {
  if (error_) std::rethrow_exception(error_);
}

void AsyncSink::work() {
  while (true) {
    Slot slot;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      slot = std::move(queue_.front());
      queue_.pop_front();
    }
    try {
      write_inner(slot);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      error_ = std::current_exception();
      queue_.clear();
      changed_.notify_all();
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      free_.push_back(std::move(slot));
    }
    changed_.notify_all();
  }
}

std::unique_ptr<FrameSink> make_async(std::unique_ptr<FrameSink> inner) {
  return std::make_unique<AsyncSink>(std::move(inner));
}

}  // namespace t2v::media
