// SPDX-License-Identifier: Apache-2.0
// Reading a mapped file that somebody cuts short raises SIGBUS. With the handler installed the
// program then says which file it was and exits with the code of a bad input file; without it (a
// library user's process) nothing changes.
#pragma once

#include <cstddef>

namespace t2v::io {

/// For programs, once at start. Faults outside our mappings keep the behaviour the process had
/// before.
void install_sigbus_handler();

/// Tells the handler about a mapping. `path` must live until forget_mapping(). Thread-safe. Returns
/// a slot, or -1 when the table is full (the mapping then has no message of its own).
int watch_mapping(const void* begin, size_t size, const char* path) noexcept;
void forget_mapping(int slot) noexcept;

}  // namespace t2v::io
