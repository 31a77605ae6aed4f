// SPDX-License-Identifier: Apache-2.0
// What the tests of src/io share: folders, goldens, and the one way to state that a file is refused.
#pragma once

#include <sys/resource.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "support/made_files.hpp"
#include "support/processor_time.hpp"
#include "t2v/error.hpp"

namespace t2v::test {

/// A folder of the running test's own, removed at the end.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "t2v_io_test_XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  std::filesystem::path write(const std::string& name, std::string_view content) const {
    const auto file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << content;
    return file;
  }
  std::vector<std::string> list() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      names.push_back(entry.path().filename().string());
    return names;
  }

 private:
  std::filesystem::path path_;
};

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(T2V_TEST_DATA) / "golden" / "io" / name;
}

inline std::string read_all(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// `action` must throw bad_input within a second, its message holding `part`, its memory staying
/// small.
inline void expect_bad(const std::function<void()>& action, const std::string& part,
                       ErrorCode code = ErrorCode::bad_input) {
  rusage before{};
  getrusage(RUSAGE_SELF, &before);
  const double start = processor_seconds();
  try {
    action();
    ADD_FAILURE() << "accepted, wanted an error with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(exit_code(error.code()), exit_code(code)) << error.what();
    EXPECT_THAT(std::string(error.what()), testing::HasSubstr(part));
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << "one line only";
  }
  rusage after{};
  getrusage(RUSAGE_SELF, &after);
  // Generous: sanitizers and slow machines; what it must catch takes minutes or gigabytes.
  EXPECT_LT(processor_seconds() - start, 5.0);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 400'000) << "kB of memory grown";
}

}  // namespace t2v::test
