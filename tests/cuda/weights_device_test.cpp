// SPDX-License-Identifier: Apache-2.0
// A store on a real device gives the bits of the store on the CPU.
#include <array>
#include <cmath>
#include <filesystem>
#include <random>
#include <vector>

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>

#include "io/tensor_file.hpp"
#include "support/cuda_device.hpp"
#include "tensor/dtypes.hpp"
#include "tensor/weights.hpp"
#include "text/text_files.hpp"

namespace t2v {
namespace {

/// From one element to more than the pinned buffers hold together.
constexpr std::array<int64_t, 6> kSizes{1, 3, 320, 1'000'003, 9'000'000, 40'000'001};

std::string name_of(size_t i) { return "layer." + std::to_string(i) + ".weight"; }

/// Numbers of every exponent that a weight has, some of them rounded or infinite in a narrower type.
at::Tensor weight_of(int64_t size, c10::ScalarType dtype) {
  std::mt19937 random(static_cast<uint32_t>(size));
  std::vector<float> values(static_cast<size_t>(size));
  for (float& value : values)
    value = std::ldexp(static_cast<float>(random()) / 4e9F - 0.5F, static_cast<int>(random() % 40) - 20);
  return at::from_blob(values.data(), {size}, at::TensorOptions().dtype(c10::kFloat)).to(dtype, false, /*copy=*/true);
}

std::shared_ptr<const io::TensorFile> write_weights(const std::filesystem::path& path, c10::ScalarType dtype) {
  std::vector<at::Tensor> weights;
  std::vector<io::NamedTensor> tensors;
  for (size_t i = 0; i < kSizes.size(); ++i) {
    const at::Tensor& weight = weights.emplace_back(weight_of(kSizes[i], dtype));
    const std::span bytes(static_cast<const std::byte*>(weight.const_data_ptr()), weight.nbytes());
    tensors.push_back({name_of(i), {file_dtype(dtype), {kSizes[i]}, {}, bytes}});
  }
  io::write_safetensors(path, tensors, {});
  return io::open_tensor_file(path);
}

class WeightsOnDevice : public testing::TestWithParam<c10::ScalarType> {};

TEST_P(WeightsOnDevice, are_the_bits_of_the_cpu) {
  const auto device = test::cuda_device();
  if (!device) GTEST_SKIP() << "no CUDA device";
  const test::TempFolder folder;
  const auto file = write_weights(folder.path() / "weights.safetensors", GetParam());
  for (const c10::ScalarType dtype : {c10::kFloat, c10::kHalf, c10::kBFloat16}) {
    WeightStore here(file, {c10::Device(c10::kCPU), dtype}), there(file, {*device, dtype});
    std::vector<at::Tensor> placed;  // all are queued before the first is looked at
    for (size_t i = 0; i < kSizes.size(); ++i) placed.push_back(there.root().take(name_of(i), {kSizes[i]}));
    for (size_t i = 0; i < kSizes.size(); ++i) {
      EXPECT_EQ(placed[i].device(), *device);
      EXPECT_TRUE(at::equal(placed[i].cpu(), here.root().take(name_of(i), {kSizes[i]})))
          << kSizes[i] << " " << c10::toString(dtype);
    }
  }
}

TEST_P(WeightsOnDevice, leave_no_pinned_memory) {
  const auto device = test::cuda_device();
  if (!device) GTEST_SKIP() << "no CUDA device";
  const test::TempFolder folder;
  const auto file = write_weights(folder.path() / "weights.safetensors", GetParam());
  {
    WeightStore store(file, {*device, c10::kHalf});
    for (size_t i = 0; i < kSizes.size(); ++i) store.root().take(name_of(i), {kSizes[i]});
  }
  EXPECT_EQ(at::getHostAllocator(c10::kCUDA)->get_stats().allocated_bytes.current, 0);
}

INSTANTIATE_TEST_SUITE_P(stored_as, WeightsOnDevice, testing::Values(c10::kFloat, c10::kHalf, c10::kBFloat16),
                         [](const auto& tested) { return std::string(c10::toString(tested.param)); });

}  // namespace
}  // namespace t2v
