// SPDX-License-Identifier: Apache-2.0
// How much memory there is to plan with.
#pragma once

#include <cstdint>

#include <c10/core/Device.h>

namespace t2v::engine {

/// Bytes of memory that a device has; of the CPU's what this process may use (control group). Not what is free now: a
/// plan made of it is the same on every run of one machine.
int64_t memory_size(c10::Device device);

}  // namespace t2v::engine
