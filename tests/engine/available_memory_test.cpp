// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <unistd.h>

#include "engine/available_memory.hpp"

namespace t2v::engine {
namespace {

namespace fs = std::filesystem;

class AvailableMemory : public testing::Test {
 protected:
  void SetUp() override { write("proc/meminfo", "MemTotal: 900 kB\nMemAvailable:     500 kB\n"); }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  int64_t available() { return available_host_bytes(folder_ / "proc", folder_ / "cgroup"); }
  fs::path folder_ = fs::temp_directory_path() / ("t2v_memory_" + std::to_string(getpid()));
};

TEST_F(AvailableMemory, is_what_the_system_says_without_groups) { EXPECT_EQ(available(), 500 * 1024); }

TEST_F(AvailableMemory, Row50_a_group_or_one_around_it_may_leave_less) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("cgroup/a/b/memory.max", "max\n");
  write("cgroup/a/b/memory.current", "7\n");
  write("cgroup/a/memory.max", "300000\n");
  write("cgroup/a/memory.current", "100000\n");
  write("cgroup/a/memory.stat", "anon 3\ninactive_file 40000\n");
  EXPECT_EQ(available(), 240000);
  write("cgroup/a/b/memory.max", "1000\n");
  EXPECT_EQ(available(), 993);
}

TEST_F(AvailableMemory, Row50_groups_of_the_first_version_count_too) {
  write("proc/self/cgroup", "9:cpu:/x\n4:memory:/x\n");
  write("cgroup/memory/x/memory.limit_in_bytes", "20000\n");
  write("cgroup/memory/x/memory.usage_in_bytes", "15000\n");
  EXPECT_EQ(available(), 5000);
}

TEST(AvailableHostMemory, is_known_here) { EXPECT_GT(available_host_bytes(), 0); }

}  // namespace
}  // namespace t2v::engine
