// SPDX-License-Identifier: Apache-2.0
#include "engine/cuda_plugin.hpp"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "t2v/error.hpp"

namespace t2v::engine {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kPlugin = fs::path(T2V_BINARY_DIR) / "libt2v_cuda.so";

/// The error that `work` throws; a test failure when it throws none.
template <typename Work>
Error error_of(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {ErrorCode::internal, ""};
}

TEST(CudaPlugin, SaysThatItWasNotBuilt) {
  const Error error = error_of([] { open_cuda_plugin("/nonexistent/libt2v_cuda.so"); });
  EXPECT_EQ(error.code(), ErrorCode::no_resource);
  EXPECT_THAT(error.what(), HasSubstr("/nonexistent/libt2v_cuda.so"));
  EXPECT_THAT(error.hint(), HasSubstr("scripts/setup --cuda"));
  EXPECT_THAT(error.hint(), HasSubstr("--device cpu"));
}

TEST(CudaPlugin, PassesOnWhyAFileDoesNotLoad) {
  const fs::path file = fs::path(testing::TempDir()) / "libt2v_cuda_garbage.so";
  std::ofstream(file) << "not a library";
  const Error error = error_of([&] { open_cuda_plugin(file); });
  fs::remove(file);
  EXPECT_EQ(error.code(), ErrorCode::no_resource);
  EXPECT_THAT(error.what(), HasSubstr("file too short"));  // glibc's words for a file without an ELF header
}

TEST(CudaPlugin, RefusesAnotherLibrary) {
  const Error error = error_of([] { open_cuda_plugin(fs::path(T2V_LIBC10)); });
  EXPECT_EQ(error.code(), ErrorCode::no_resource);
  EXPECT_THAT(error.what(), HasSubstr("wanted a t2v CUDA plug-in"));
}

TEST(CudaPlugin, RefusesAPluginOfAnotherBuild) {
  const Error error = error_of([] { open_cuda_plugin(OLD_PLUGIN); });
  EXPECT_EQ(error.code(), ErrorCode::no_resource);
  EXPECT_THAT(error.what(), HasSubstr("wanted interface " + std::to_string(cuda::kPluginAbi) + ", got " +
                                      std::to_string(cuda::kPluginAbi - 1)));
}

TEST(CudaPlugin, LoadsOrNamesTheMissingLibrary) {
  if (!fs::exists(kPlugin)) GTEST_SKIP() << "built without the CUDA plug-in";
  const cuda::PluginApi* api = nullptr;
  try {
    api = &open_cuda_plugin(kPlugin);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::no_resource);
    EXPECT_THAT(error.what(), HasSubstr("cannot open shared object file"));
    EXPECT_THAT(error.hint(), HasSubstr("scripts/setup --cuda"));
    return;
  }
  int count = -1;
  if (api->device_count(&count) == 0) {
    EXPECT_GE(count, 0);
  } else {
    EXPECT_THAT(api->last_error(), HasSubstr("cuda"));
  }
}

TEST(CudaPlugin, Row51_WithoutADriverSaysSo) {
  if (cuda_likely()) GTEST_SKIP() << "this machine has an NVIDIA driver";
  const Error error = error_of([] { require_cuda(0); });
  EXPECT_EQ(error.code(), ErrorCode::no_resource);
  EXPECT_THAT(error.what(), HasSubstr("NVIDIA driver"));
  EXPECT_THAT(error.what(), HasSubstr("libcuda.so.1"));
  EXPECT_THAT(error.hint(), HasSubstr("--device cpu"));
}

TEST(CudaPlugin, DescribesDevices) {
  if (!cuda_likely()) GTEST_SKIP() << "no NVIDIA driver on this machine";
  const cuda::PluginApi& api = open_cuda_plugin(kPlugin);
  int count = 0;
  ASSERT_EQ(api.device_count(&count), 0) << api.last_error();
  if (count == 0) GTEST_SKIP() << "no CUDA device on this machine";
  cuda::DeviceInfo info{};
  ASSERT_EQ(api.device_info(0, &info), 0) << api.last_error();
  EXPECT_GT(info.capability_major, 6);
  int64_t free_bytes = 0;
  int64_t total_bytes = 0;
  ASSERT_EQ(api.memory_info(0, &free_bytes, &total_bytes), 0) << api.last_error();
  EXPECT_LE(free_bytes, total_bytes);
  EXPECT_NE(api.device_info(count, &info), 0);
  EXPECT_EQ(api.synchronize(0), 0);
  EXPECT_EQ(api.empty_cache(), 0);
}

}  // namespace
}  // namespace t2v::engine
