// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_probe.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>

#include <c10/core/Allocator.h>
#include <c10/core/DeviceType.h>
#include <c10/core/InferenceMode.h>

#include "tensor/flops.hpp"

namespace t2v::engine {

namespace {

/// Gives meta storages no memory, as libtorch's own meta allocator, and keeps the sum of their sizes.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    live += static_cast<int64_t>(bytes);
    peak = std::max(peak.load(), live.load());
    return {nullptr, new size_t(bytes), &release, c10::Device(c10::DeviceType::Meta)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void*, const void*, size_t) const override {}

  static inline std::atomic<int64_t> live = 0;
  static inline std::atomic<int64_t> peak = 0;

 private:
  static void release(void* context) {
    auto* bytes = static_cast<size_t*>(context);
    live -= static_cast<int64_t>(*bytes);
    delete bytes;
  }
};

/// Storages made under the allocator may outlive the probe, so it is never taken out again; it is as cheap as the
/// original.
void install_once() {
  static CountingAllocator allocator;
  static std::once_flag once;
  std::call_once(once, [] { c10::SetAllocator(c10::DeviceType::Meta, &allocator, /*priority=*/255); });
}

}  // namespace

CallCost probe(const std::function<void()>& call) {
  install_once();
  const c10::InferenceMode guard;
  const int64_t before = CountingAllocator::live;
  const int64_t flops_before = counted_flops;
  CountingAllocator::peak = before;
  call();
  return {CountingAllocator::peak - before, counted_flops - flops_before};
}

}  // namespace t2v::engine
