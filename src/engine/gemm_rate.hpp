// SPDX-License-Identifier: Apache-2.0
// What this machine's matrix product and its memory reach: the yardsticks beside which a network's rate is shown.
#pragma once

#include "tensor/placement.hpp"

namespace t2v::engine {

/// FLOP/s of a square product in the placement's dtype (2048 wide on a CPU, 8192 on CUDA; narrower where that takes
/// long): the best of several.
double measured_gemm_rate(const Placement& placement);

/// Bytes/s of copying a large tensor, read and written counted: the best of several.
double measured_copy_rate(const Placement& placement);

}  // namespace t2v::engine
