// SPDX-License-Identifier: Apache-2.0
// How much memory a run may still take.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace t2v::engine {

/// Of the host: the smaller of what the system calls available and what the limits of this process's control groups (v2
/// and v1) and RLIMIT_AS leave. 0 where nothing says so.
int64_t available_host_bytes();

/// The same from a copy of the file trees: `proc` holds meminfo and self/cgroup, `cgroups` the groups.
int64_t available_host_bytes(const std::filesystem::path& proc, const std::filesystem::path& cgroups);

/// Of a device as Plan names it ("cpu", "cuda:0"). 0: not known.
int64_t available_bytes(const std::string& device);

}  // namespace t2v::engine
