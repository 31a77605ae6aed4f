// SPDX-License-Identifier: Apache-2.0
// Loops of our own CPU kernels on libtorch's threads: the same pool, the same --threads.
#pragma once

#include <cstdint>
#include <functional>

namespace t2v {

/// Calls body(first, last) for disjoint ranges that cover [0, count), each at least `grain` long unless count is less.
/// Runs in the calling thread where libtorch has one thread, inside another such loop, and in builds without OpenMP.
void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

/// How many threads parallel_for has.
int64_t thread_count();

}  // namespace t2v
