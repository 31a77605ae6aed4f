// SPDX-License-Identifier: Apache-2.0
// Keeps a process near the memory that its tensors need.
#pragma once

#include <cstdint>

namespace t2v::engine {

constexpr int64_t kOwnPagesBytes = int64_t{32} << 20;  // from here on, in a run, a block gets pages of its own
constexpr int64_t kTrimBytes = 2 * kOwnPagesBytes;     // so much free at the end of the heap goes back to the system

/// For programs, once at start: one heap for all threads. Almost all memory is asked for by one thread, and every
/// further heap keeps what it once held (15 MB in a small run). Does nothing outside glibc.
void use_one_heap();

/// Between runs: pages of the heap in which nothing lives any more go back to the system. Does nothing outside glibc.
void return_freed_pages();

/// While it lives, blocks of a megabyte and more get pages of their own, which go back to the system when freed; at its
/// end the allocator returns to serving them from its heap, which is faster for activations. Weights are converted and
/// laid out through short-lived copies: on the heap these leave holes, 0.35 GB of them in a 7.3 GB model. Does nothing
/// outside glibc.
class LoadMemoryScope {
 public:
  LoadMemoryScope();
  ~LoadMemoryScope();
  LoadMemoryScope(const LoadMemoryScope&) = delete;
  LoadMemoryScope& operator=(const LoadMemoryScope&) = delete;
};

}  // namespace t2v::engine
