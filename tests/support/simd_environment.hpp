// SPDX-License-Identifier: Apache-2.0
// T2V_SIMD=AVX2 (or another of Highway's names): kernels run as on a machine whose vectors are no better than that.
// Included once by a test's program.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>
#include <hwy/targets.h>

namespace t2v::test {

/// 0 where this machine lacks it.
inline int64_t target_called(const std::string& name) {
  for (int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
    const int64_t target = left & -left;
    if (hwy::TargetName(target) == name) return target;
  }
  return 0;
}

class SimdEnvironment final : public testing::Environment {
  void SetUp() override {
    const char* name = std::getenv("T2V_SIMD");
    if (!name) return;
    const int64_t target = target_called(name);
    if (target == 0) GTEST_SKIP() << "this machine has no " << name;
    hwy::DisableTargets(target - 1);  // a better target has a lower bit
    ASSERT_EQ(hwy::SupportedTargets() & -hwy::SupportedTargets(), target);
  }
};

inline const testing::Environment* const simd_environment = testing::AddGlobalTestEnvironment(new SimdEnvironment);

}  // namespace t2v::test
