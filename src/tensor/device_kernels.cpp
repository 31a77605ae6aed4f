// SPDX-License-Identifier: Apache-2.0
#include "tensor/device_kernels.hpp"

#include <atomic>

namespace t2v {

namespace {
std::atomic<const DeviceKernels*> current{nullptr};
}

const DeviceKernels* device_kernels() { return current.load(std::memory_order_acquire); }

void set_device_kernels(const DeviceKernels* kernels) { current.store(kernels, std::memory_order_release); }

}  // namespace t2v
