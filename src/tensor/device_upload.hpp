// SPDX-License-Identifier: Apache-2.0
// Weights on their way from the file's pages to a device. A few pinned buffers go round: all threads fill one (and take
// the page faults) while the ones before it travel. Nothing but these buffers is still being read when upload()
// returns, so the file's pages may go. The only caller is WeightStore.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "tensor/placement.hpp"

namespace t2v {

/// What an upload asks of a device; tests have slow and failing ones.
class UploadDevice {
 public:
  virtual ~UploadDevice() = default;
  /// So many bytes of memory that the device reads by itself, as a uint8 tensor on the CPU. Throws c10::Error where it
  /// is refused.
  virtual at::Tensor pinned(int64_t bytes) = 0;
  /// Queues the copy of `from`, pinned and dense, to `to`, of the same shape on the device, perhaps of another dtype:
  /// that is converted there. `from` has to stay as it is until a mark made later was waited for.
  virtual void begin_copy(const at::Tensor& to, const at::Tensor& from) = 0;
  /// -> a call that waits for everything queued so far.
  virtual std::function<void()> mark() = 0;
  /// Pinned memory that no tensor holds any more goes back to the system.
  virtual void give_back_pinned() = 0;
};

/// libtorch's accelerator `device`, on its current stream.
std::unique_ptr<UploadDevice> upload_device(c10::Device device);

/// One thread at a time.
class DeviceUpload {
 public:
  struct Buffers {
    int64_t count = 4;
    int64_t bytes = int64_t{16} << 20;  ///< of each
  };

  DeviceUpload(std::unique_ptr<UploadDevice> device, const Placement& placement, const Buffers& buffers);
  DeviceUpload(std::unique_ptr<UploadDevice> device, const Placement& placement)
      : DeviceUpload(std::move(device), placement, Buffers()) {}
  /// Waits for what is under way and gives the pinned memory back.
  ~DeviceUpload();
  DeviceUpload(const DeviceUpload&) = delete;
  DeviceUpload& operator=(const DeviceUpload&) = delete;

  /// As stored.to(placement.device, placement.dtype) of a tensor on the CPU, bit for bit, queued on the device. Without
  /// pinned memory it is that very call.
  at::Tensor upload(const at::Tensor& stored);

 private:
  struct Buffer {
    at::Tensor memory;  // [bytes] uint8
    int64_t used = 0;
    std::function<void()> wait_until_sent;  // of what was filled in last time; empty: nothing
  };
  /// The buffer to fill on, with room for `wanted` bytes or as many as are worth a copy. Null: there is no pinned
  /// memory.
  Buffer* buffer_with_room(int64_t wanted);
  void open_next();
  bool add_buffer();

  std::unique_ptr<UploadDevice> device_;
  Placement placement_;
  Buffers limits_;
  std::vector<Buffer> ring_;
  size_t current_ = 0;
  bool may_grow_ = true;  // until the device refuses
};

}  // namespace t2v
