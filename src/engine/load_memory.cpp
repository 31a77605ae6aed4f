// SPDX-License-Identifier: Apache-2.0
#include "engine/load_memory.hpp"

#include <cstdlib>  // any standard header: says whether this is glibc

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace t2v::engine {

#ifdef __GLIBC__

namespace {

constexpr int kLoading = 1 << 20;

}  // namespace

void use_one_heap() { mallopt(M_ARENA_MAX, 1); }
void return_freed_pages() { malloc_trim(0); }

LoadMemoryScope::LoadMemoryScope() { mallopt(M_MMAP_THRESHOLD, kLoading); }

LoadMemoryScope::~LoadMemoryScope() {
  return_freed_pages();
  mallopt(M_MMAP_THRESHOLD, kOwnPagesBytes);  // glibc's upper bound, where its own adjustment would end
  mallopt(M_TRIM_THRESHOLD, kTrimBytes);
}

#else

void use_one_heap() {}
void return_freed_pages() {}

LoadMemoryScope::LoadMemoryScope() = default;
LoadMemoryScope::~LoadMemoryScope() = default;

#endif

}  // namespace t2v::engine
