// SPDX-License-Identifier: Apache-2.0
// Where a component computes, and in which precision.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

namespace t2v {

struct Placement {
  c10::Device device{c10::DeviceType::CPU};
  c10::ScalarType dtype = c10::ScalarType::Float;
};

}  // namespace t2v
