// SPDX-License-Identifier: Apache-2.0
// Runs a command line on the fake model, in this process, in a folder of its own.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/fake_model.hpp"
#include "cli/layers.hpp"
#include "cli/preflight.hpp"
#include "cli/run_program.hpp"
#include "core/log.hpp"

namespace t2v::testing_support {

struct CommandResult {
  int code = 0;
  std::string out, err;
};

class CommandTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "t2v-command-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& name) const { return (folder_ / name).string(); }
  std::string write_file(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return file(name);
  }
  /// Names in the folder, sorted.
  std::vector<std::string> listing() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  CommandResult run(const std::vector<std::string>& arguments) {
    const cli::Invocation invocation = cli::parse(arguments);
    EXPECT_EQ(cli::preflight(invocation), cli::Verdict::run);
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    log::setup(static_cast<int>(invocation.run.verbosity), invocation.run.json_messages());
    CommandResult result;
    result.code = commands::run_command(invocation, fake_tools(world_));
    result.out = testing::internal::GetCapturedStdout();
    result.err = testing::internal::GetCapturedStderr();
    return result;
  }

  std::filesystem::path folder_;
  FakeWorld world_;
};

}  // namespace t2v::testing_support
