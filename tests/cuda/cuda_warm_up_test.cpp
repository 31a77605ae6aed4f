// SPDX-License-Identifier: Apache-2.0
// A device's first calls beside loading, here on the emulated device: what layers have afterwards, who waits, and what
// failures there are to a run.
#include "engine/cuda_warm_up.hpp"

#include <future>
#include <memory>
#include <stdexcept>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "emulated/plugin.hpp"
#include "engine/cuda_kernels.hpp"
#include "engine/cuda_plugin.hpp"
#include "engine/reloadable.hpp"
#include "support/cuda_device.hpp"
#include "support/gate.hpp"

namespace t2v::engine {
namespace {

const c10::Device kEmulated(c10::kCPU);

/// Whether a layer would get a kernel of ours for tensors of this dtype.
bool has_kernel(c10::ScalarType dtype) {
  const at::Tensor x = at::ones({2, 8}, at::TensorOptions().dtype(dtype));
  const DeviceKernels* kernels = device_kernels_for(x);
  return kernels != nullptr && kernels->geglu(x);
}

class CudaWarmUp : public testing::Test {
 protected:
  void SetUp() override { use_cuda_plugin(cuda::emulated_plugin()); }
  void TearDown() override {
    begin_warm_up([] {}, [] {});
    finish_cuda_warm_up();
    set_device_kernels(nullptr);
  }
};

TEST_F(CudaWarmUp, kernels_are_set_for_the_dtype_of_the_run_and_for_fp32) {
  begin_cuda_warm_up({kEmulated, c10::kFloat});
  wait_for_cuda_kernels();
  EXPECT_TRUE(has_kernel(c10::kFloat));
  EXPECT_FALSE(has_kernel(c10::kBFloat16));
  begin_cuda_warm_up({kEmulated, c10::kBFloat16});
  finish_cuda_warm_up();
  EXPECT_TRUE(has_kernel(c10::kFloat));
  EXPECT_TRUE(has_kernel(c10::kBFloat16));
  EXPECT_FALSE(has_kernel(c10::kHalf));
  begin_cuda_warm_up({kEmulated, c10::kFloat});  // a second model beside the first
  finish_cuda_warm_up();
  EXPECT_TRUE(has_kernel(c10::kBFloat16));
}

TEST_F(CudaWarmUp, the_same_placement_is_warmed_once) {
  begin_cuda_warm_up({kEmulated, c10::kFloat});
  finish_cuda_warm_up();
  set_device_kernels(nullptr);
  begin_cuda_warm_up({kEmulated, c10::kFloat});
  finish_cuda_warm_up();
  EXPECT_EQ(device_kernels(), nullptr);
}

TEST_F(CudaWarmUp, Row94_a_device_that_fails_while_kernels_are_proven_leaves_the_run_to_aten) {
  static cuda::PluginApi full = cuda::emulated_plugin();
  full.frame_attention = [](int, const cuda::FrameAttentionJob&) -> int { throw std::runtime_error("out of memory"); };
  use_cuda_plugin(full);
  begin_cuda_warm_up({kEmulated, c10::kHalf});
  EXPECT_NO_THROW(finish_cuda_warm_up());
  EXPECT_EQ(device_kernels(), nullptr);
}

TEST_F(CudaWarmUp, Row94_work_that_throws_is_no_error_of_the_run) {
  begin_warm_up([] { throw std::runtime_error("out of memory"); }, [] { throw std::runtime_error("out of memory"); });
  EXPECT_NO_THROW(wait_for_cuda_kernels());
  EXPECT_NO_THROW(finish_cuda_warm_up());
}

TEST_F(CudaWarmUp, networks_are_loaded_beside_it_and_run_after_the_kernels_are_proven) {
  test::Gate kernels, libraries, loaded;
  begin_warm_up([&] { kernels.wait(); }, [&] { libraries.wait(); });
  Reloadable<int> network({}, [&](const Placement&) {
    loaded.open();
    return std::make_unique<int>(7);
  });
  auto may_run = std::async(std::launch::async, [&] {
    Progress progress;
    load_networks(progress, network);
  });
  loaded.wait();
  EXPECT_EQ(may_run.wait_for(test::kAWhile), std::future_status::timeout);
  kernels.open();
  may_run.get();
  auto finished = std::async(std::launch::async, [] { finish_cuda_warm_up(); });
  EXPECT_EQ(finished.wait_for(test::kAWhile), std::future_status::timeout);
  libraries.open();
  finished.get();
}

class WarmUpIn : public testing::TestWithParam<c10::ScalarType> {};

TEST_P(WarmUpIn, its_operations_exist_on_any_device_and_leave_no_state_behind) {
  const Placement placement{test::cuda_device().value_or(c10::kCPU), GetParam()};
  use_products(placement);
  use_convolutions(placement);
  EXPECT_FALSE(c10::InferenceMode::is_enabled());
  EXPECT_TRUE(at::GradMode::is_enabled());
}

INSTANTIATE_TEST_SUITE_P(types, WarmUpIn, testing::Values(c10::kFloat, c10::kHalf, c10::kBFloat16),
                         [](const auto& row) { return std::string(c10::toString(row.param)); });

/// On a real device, twice, so that the second thread gets the libraries' handles of the first.
TEST(CudaWarmUpDevice, warms_a_device_for_every_dtype) {
  const auto device = test::cuda_device();
  if (!device) GTEST_SKIP() << "no CUDA device on this machine";
  for (const c10::ScalarType dtype : {c10::kHalf, c10::kBFloat16}) {
    set_device_kernels(nullptr);
    begin_cuda_warm_up({*device, dtype});
    finish_cuda_warm_up();
    const at::Tensor x = at::ones({2, 8}, at::TensorOptions().dtype(dtype).device(*device));
    ASSERT_NE(device_kernels_for(x), nullptr);
    EXPECT_TRUE(device_kernels_for(x)->geglu(x));
  }
}

}  // namespace
}  // namespace t2v::engine
