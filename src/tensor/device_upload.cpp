// SPDX-License-Identifier: Apache-2.0
#include "tensor/device_upload.hpp"

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/ops/as_strided.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include "core/log.hpp"
#include "core/text.hpp"
#include "tensor/parallel.hpp"

namespace t2v {

namespace {

constexpr int64_t kAlignment = 256;                 // of tensors within a buffer; also what fast copies like
constexpr int64_t kWorthACopy = int64_t{1} << 20;   // bytes; a smaller rest of a buffer stays empty
constexpr int64_t kBytesEach = int64_t{256} << 10;  // fewer are not worth a second thread

class Accelerator final : public UploadDevice {
 public:
  explicit Accelerator(c10::Device device) : device_(device) {}

  at::Tensor pinned(int64_t bytes) override {
    return at::empty({bytes}, at::TensorOptions().dtype(c10::kByte).pinned_memory(true));
  }
  void begin_copy(const at::Tensor& to, const at::Tensor& from) override {
    // copy_() between dtypes would convert on the CPU first, and wait.
    const bool converts = to.scalar_type() != from.scalar_type();
    to.copy_(converts ? from.to(from.options().device(device_), /*non_blocking=*/true) : from, /*non_blocking=*/true);
  }
  std::function<void()> mark() override {
    auto event = std::make_shared<c10::Event>(device_.type());  // shared: std::function wants to be copied
    event->record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
    return [event] { event->synchronize(); };
  }
  void give_back_pinned() override { at::getHostAllocator(device_.type())->empty_cache(); }

 private:
  c10::Device device_;
};

/// All elements of a dense tensor in the order of memory.
at::Tensor flat(const at::Tensor& dense) { return at::as_strided(dense, {dense.numel()}, {1}); }

/// The dense tensor's bytes from `begin` on, into all of `to`.
void fill(const at::Tensor& to, const at::Tensor& from, int64_t begin) {
  auto* target = static_cast<std::byte*>(to.mutable_data_ptr());
  const auto* source = static_cast<const std::byte*>(from.const_data_ptr()) + begin * from.element_size();
  parallel_for(to.numel() * to.element_size(), kBytesEach, [&](int64_t first, int64_t last) {
    std::memcpy(target + first, source + first, static_cast<size_t>(last - first));
  });
}

}  // namespace

std::unique_ptr<UploadDevice> upload_device(c10::Device device) { return std::make_unique<Accelerator>(device); }

DeviceUpload::DeviceUpload(std::unique_ptr<UploadDevice> device, const Placement& placement, const Buffers& buffers)
    : device_(std::move(device)), placement_(placement), limits_(buffers) {}

DeviceUpload::~DeviceUpload() {
  if (ring_.empty()) return;
  try {
    device_->mark()();
    ring_.clear();
    device_->give_back_pinned();
  } catch (const std::exception& error) {  // the device is lost; whoever uses it next is told
    log::debug("pinned memory: {}", error.what());
  }
}

at::Tensor DeviceUpload::upload(const at::Tensor& stored) {
  const at::Tensor dense = stored.is_non_overlapping_and_dense() ? stored : stored.contiguous();
  const at::Tensor placed =
      at::empty_like(dense, dense.options().device(placement_.device).dtype(placement_.dtype));  // same strides
  const at::Tensor from = flat(dense), to = flat(placed);
  const int64_t size = from.element_size();
  for (int64_t begin = 0; begin < from.numel();) {
    Buffer* buffer = buffer_with_room((from.numel() - begin) * size);
    if (!buffer) return stored.to(placement_.device, placement_.dtype);
    const int64_t count = std::min(from.numel() - begin, (limits_.bytes - buffer->used) / size);
    const at::Tensor staged = buffer->memory.narrow(0, buffer->used, count * size).view(from.scalar_type());
    fill(staged, from, begin);
    device_->begin_copy(to.narrow(0, begin, count), staged);
    buffer->used = (buffer->used + count * size + kAlignment - 1) / kAlignment * kAlignment;
    begin += count;
  }
  return placed;
}

DeviceUpload::Buffer* DeviceUpload::buffer_with_room(int64_t wanted) {
  if (ring_.empty() && !add_buffer()) return nullptr;
  const int64_t room = limits_.bytes - ring_[current_].used;
  if (room < std::min({wanted, kWorthACopy, limits_.bytes})) open_next();
  return &ring_[current_];
}

/// The next of the ring, once the device has read what it held. The ring grows while it is shorter than it may be.
void DeviceUpload::open_next() {
  ring_[current_].wait_until_sent = device_->mark();
  const bool is_last = current_ + 1 == ring_.size();
  current_ = is_last && !add_buffer() ? 0 : (current_ + 1) % ring_.size();
  Buffer& next = ring_[current_];
  if (next.wait_until_sent) next.wait_until_sent();
  next.wait_until_sent = nullptr;
  next.used = 0;
}

bool DeviceUpload::add_buffer() {
  if (!may_grow_ || std::ssize(ring_) == limits_.count) return false;
  try {
    ring_.push_back({.memory = device_->pinned(limits_.bytes), .used = 0, .wait_until_sent = {}});
    return true;
  } catch (const c10::Error& error) {
    may_grow_ = false;
    log::debug("pinned memory: wanted {}, got none; {}: {}", human_bytes(limits_.bytes),
               ring_.empty() ? "weights are copied without" : "going on with less", error.what_without_backtrace());
    return false;
  }
}

}  // namespace t2v
