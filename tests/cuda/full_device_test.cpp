// SPDX-License-Identifier: Apache-2.0
// What the engine makes of a device without memory. Beside this program lie a plug-in that plays
// the device and an empty library in place of the driver's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/available_memory.hpp"
#include "engine/cuda_plugin.hpp"
#include "t2v/error.hpp"

namespace t2v::engine {
namespace {

using testing::HasSubstr;

TEST(FullDevice, Row49_what_is_free_on_a_device_is_what_a_plan_is_held_against) {
  EXPECT_EQ(available_bytes("cuda:0"), 31'000'000);  // and what libtorch keeps unused
  EXPECT_EQ(available_bytes("cuda"), 31'000'000);
  EXPECT_NO_THROW(require_cuda(0));
}

TEST(FullDevice, Row49_a_device_without_memory_for_a_context_is_exit_code_5) {
  try {
    available_bytes("cuda:1");
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(exit_code(error.code()), 5);
    EXPECT_THAT(error.what(), HasSubstr("cudaErrorMemoryAllocation: out of memory"));
    EXPECT_THAT(error.hint(), HasSubstr("--device cpu"));
  }
}

TEST(FullDevice, Row51_an_index_that_is_not_there_names_those_that_are) {
  try {
    require_cuda(2);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(exit_code(error.code()), 5);
    EXPECT_THAT(error.what(), HasSubstr("an index below 2, got 2"));
  }
}

}  // namespace
}  // namespace t2v::engine
