// SPDX-License-Identifier: Apache-2.0
// Arithmetic of a network call, counted while it runs, on shapes or on data: 2 for each multiply-add of matrix
// products, convolutions and attention. Norms and activations are left out, as in torch.utils.flop_counter. A fast form
// counts as the plain one that it stands for. OpScope adds to it; what a CUDA graph replays is not seen.
#pragma once

#include <cstdint>

namespace t2v {

/// What layers have counted in this thread so far. Only differences mean something.
inline thread_local int64_t counted_flops = 0;

}  // namespace t2v
