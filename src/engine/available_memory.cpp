// SPDX-License-Identifier: Apache-2.0
#include "engine/available_memory.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

#include "engine/cuda_plugin.hpp"
#include "t2v/error.hpp"

namespace t2v::engine {

namespace {

namespace fs = std::filesystem;

std::optional<int64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  int64_t number = 0;
  if (in >> number) return number;
  return std::nullopt;  // no such file, or "max"
}

std::optional<int64_t> meminfo_available(const fs::path& file) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    int64_t kib = 0;
    if (words >> name >> kib && name == "MemAvailable:") return kib * 1024;
  }
  return std::nullopt;
}

/// What one group leaves. Pages of files that it read count as used, but are given back when needed.
std::optional<int64_t> left_in(const fs::path& group, const char* limit_name, const char* used_name) {
  const auto limit = number_in(group / limit_name), used = number_in(group / used_name);
  if (!limit || !used) return std::nullopt;
  int64_t files = 0;
  std::ifstream stat(group / "memory.stat");
  for (std::string line; std::getline(stat, line);) {
    std::istringstream words(line);
    std::string name;
    int64_t bytes = 0;
    if (words >> name >> bytes && (name == "inactive_file" || name == "total_inactive_file")) files = bytes;
  }
  return std::max<int64_t>(0, *limit - *used + files);
}

/// The smallest of all groups this process is in, each with those around it.
int64_t left_in_groups(const fs::path& proc, const fs::path& root) {
  int64_t least = std::numeric_limits<int64_t>::max();
  std::ifstream in(proc / "self/cgroup");
  for (std::string line; std::getline(in, line);) {  // "0::/a/b" or "4:memory:/a/b"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const bool is_v2 = second == first + 1;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!is_v2 && controllers.find("memory") == std::string::npos) continue;
    const fs::path top = is_v2 ? root : root / "memory";
    fs::path group = fs::path(line.substr(second + 1)).relative_path();
    while (true) {
      const auto left = is_v2 ? left_in(top / group, "memory.max", "memory.current")
                              : left_in(top / group, "memory.limit_in_bytes", "memory.usage_in_bytes");
      least = std::min(least, left.value_or(least));
      if (group.empty()) break;
      group = group.parent_path();
    }
  }
  return least;
}

int64_t left_of_address_space(const fs::path& proc) {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::numeric_limits<int64_t>::max();
  const int64_t used = number_in(proc / "self/statm").value_or(0) * sysconf(_SC_PAGESIZE);
  return std::max<int64_t>(0, static_cast<int64_t>(limit.rlim_cur) - used);
}

}  // namespace

int64_t available_host_bytes(const fs::path& proc, const fs::path& cgroups) {
  const int64_t none = std::numeric_limits<int64_t>::max();
  const int64_t least = std::min(
      {meminfo_available(proc / "meminfo").value_or(none), left_in_groups(proc, cgroups), left_of_address_space(proc)});
  return least == none ? 0 : least;
}

int64_t available_host_bytes() { return available_host_bytes("/proc", "/sys/fs/cgroup"); }

int64_t available_bytes(const std::string& device) {
  if (!device.starts_with("cuda")) return available_host_bytes();
  const size_t colon = device.find(':');
  return cuda_free_bytes(colon == std::string::npos ? 0 : std::stoi(device.substr(colon + 1)));
}

}  // namespace t2v::engine
