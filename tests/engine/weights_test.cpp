// SPDX-License-Identifier: Apache-2.0
// What a weight file's header says before any weight is read.
#include "tensor/weights.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

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

/// A file that notes which views' pages were given back.
class NotingFile final : public io::TensorFile {
 public:
  explicit NotingFile(std::shared_ptr<const io::TensorFile> file) : file_(std::move(file)) {}
  const std::map<std::string, io::TensorView, std::less<>>& tensors() const override { return file_->tensors(); }
  const std::map<std::string, std::string>& metadata() const override { return file_->metadata(); }
  std::string where() const override { return file_->where(); }
  int64_t file_bytes() const override { return file_->file_bytes(); }
  void release(const io::TensorView& view) const override { released.push_back(view.bytes.data()); }

  mutable std::vector<const std::byte*> released;

 private:
  std::shared_ptr<const io::TensorFile> file_;
};

TEST(Weights, pages_go_back_with_the_tensor_over_them) {
  const auto file = std::make_shared<NotingFile>(test::formula_file({{"a", {4, 4}}}));
  const std::byte* bytes = file->tensors().at("a").bytes.data();
  {
    WeightStore store(file, Placement{});
    at::Tensor in_place = store.root().take("a", {4, 4});
    EXPECT_EQ(in_place.const_data_ptr(), bytes);
    EXPECT_THAT(file->released, testing::IsEmpty());
    in_place.reset();
    EXPECT_THAT(file->released, testing::ElementsAre(bytes));
  }
  file->released.clear();
  WeightStore store(file, Placement{.device = c10::kCPU, .dtype = c10::kHalf});
  at::Tensor stored = store.root().take_stored("a", {4, 4, 1});
  EXPECT_EQ(stored.scalar_type(), c10::kFloat);
  EXPECT_EQ(stored.sizes(), (std::vector<int64_t>{4, 4, 1}));
  EXPECT_THAT(file->released, testing::IsEmpty());
  stored.reset();
  EXPECT_THAT(file->released, testing::SizeIs(1));
  EXPECT_EQ(store.root().take("a", {4, 4}).scalar_type(), c10::kHalf);
  EXPECT_THAT(file->released, testing::SizeIs(2)) << "converted: the pages are not needed";
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
