// SPDX-License-Identifier: Apache-2.0
// What a weight file's header says before any weight is read.
#include "tensor/weights.hpp"

#include <array>
#include <cstdint>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/checkpoint.hpp"
#include "io/tensor_file.hpp"
#include "models/describe.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "text/text_files.hpp"

namespace t2v {
namespace {

using testing::HasSubstr;

TEST(Weights, Row13_every_missing_tensor_is_named_with_the_one_it_may_be) {
  const auto file = test::formula_file({{"conv_in.weight", {4, 4}}, {"conv_in.bais", {4}}, {"other", {1}}});
  WeightStore store = WeightStore::header_only(file);
  EXPECT_EQ(store.root().take("conv_in.weight", {4, 4}).sizes(), (std::vector<int64_t>{4, 4}));
  EXPECT_EQ(store.root().take("conv_in.bias", {4}).sizes(), std::vector<int64_t>{4});
  store.root().take("conv_out.weight", {2, 4});
  try {
    store.expect_all_taken();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(),
                HasSubstr("wanted conv_in.bias [4], conv_out.weight [2, 4], got none of that name; 2 tensors "
                          "that the config does not describe: conv_in.bais, other"));
    EXPECT_THAT(error.hint(), HasSubstr("'conv_in.bais' may be 'conv_in.bias'"));
  }
}

TEST(Weights, Row13_twenty_names_are_enough) {
  WeightStore store = WeightStore::header_only(test::formula_file({{"a", {1}}}));
  store.root().take("a", {1});
  for (int i = 0; i < 25; ++i) store.root().take("layer." + std::to_string(i), {1});
  try {
    store.expect_all_taken();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("layer.19 [1] and 5 more, got none of that name"));
  }
}

TEST(HalfDtype, is_bf16_where_the_file_has_it) {
  const test::TempFolder folder;
  const std::array<std::byte, 4> bytes{};
  const auto dtype_of = [&](io::DType stored, size_t size) {
    const auto path = folder.path() / "model.safetensors";
    const io::NamedTensor weight{"weight", {stored, {1}, {}, std::span(bytes).first(size)}};
    io::write_safetensors(path, std::span(&weight, 1), {});
    return models::half_dtype({.name = "unet", .class_name = "UNet", .path = folder.path(), .weight_file = path});
  };
  EXPECT_EQ(dtype_of(io::DType::bf16, 2), c10::kBFloat16);
  EXPECT_EQ(dtype_of(io::DType::f16, 2), c10::kHalf);
  EXPECT_EQ(dtype_of(io::DType::f32, 4), c10::kHalf);
}

}  // namespace
}  // namespace t2v
