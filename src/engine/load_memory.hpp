// SPDX-License-Identifier: Apache-2.0
// Keeps the memory of loading from adding to the memory of running.
#pragma once

namespace t2v::engine {

/// While it lives, blocks of a megabyte and more get pages of their own, which go back to the system when freed; at its end
/// the allocator returns to serving them from its heap, which is faster for activations. Weights are converted and laid out
/// through short-lived copies: on the heap these leave holes, 0.35 GB of them in a 7.3 GB model. Does nothing outside glibc.
class LoadMemoryScope {
 public:
  LoadMemoryScope();
  ~LoadMemoryScope();
  LoadMemoryScope(const LoadMemoryScope&) = delete;
  LoadMemoryScope& operator=(const LoadMemoryScope&) = delete;
};

}  // namespace t2v::engine
