// SPDX-License-Identifier: Apache-2.0
// A CUDA device's first calls are slow: libraries are opened, and every kernel is brought to the device when it is
// first asked for. That happens here, on two threads, beside what the CPU does until networks run: reading headers,
// planning, tokenizing, loading weights.
#pragma once

#include <functional>

#include "tensor/placement.hpp"

namespace t2v::engine {

/// Returns while it goes on. One thread gives the layers the plug-in's kernels (use_cuda_kernels()) and calls
/// use_products(), the other use_convolutions(). Nothing new begins for the placement of the call before. What fails is
/// told to the debug log only: layers then have ATen's kernels, and what a run needs fails there with its own error.
void begin_cuda_warm_up(const Placement& placement);

/// To be called before a network runs: layers have the kernels that were proven, and text encoders find their libraries
/// open. Costs nothing where nothing goes on.
void wait_for_cuda_kernels();
/// To be called before anything is timed, recorded or decided by what memory is free: nothing goes on any more.
void finish_cuda_warm_up();

/// What all networks, and what those with images do first, in a tensor or two each. On any device.
void use_products(const Placement& placement);
void use_convolutions(const Placement& placement);

/// The same with other work, for tests; the next begin_cuda_warm_up() begins anew.
void begin_warm_up(const std::function<void()>& kernels, const std::function<void()>& libraries);

}  // namespace t2v::engine
