// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <unistd.h>

#include "engine/latents.hpp"
#include "io/tensor_file.hpp"
#include "t2v/error.hpp"

namespace t2v::engine {
namespace {

namespace fs = std::filesystem;

class LatentsFile : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_ = fs::temp_directory_path() / ("t2v_latents_" + std::to_string(getpid()));
};

TEST_F(LatentsFile, comes_back_with_its_settings) {
  Latents latents{{1, 2, 1, 1, 3}, {0, 1, -2.5F, 3, 4e-9F, 5}, R"({"prompt":"ü \"x\""})"};
  save_latents(folder_ / "a.safetensors", latents);
  const Latents back = load_latents(folder_ / "a.safetensors");
  EXPECT_EQ(back.shape, latents.shape);
  EXPECT_EQ(back.data, latents.data);
  EXPECT_EQ(back.settings, latents.settings);
}

TEST_F(LatentsFile, without_latents_is_refused_by_name) {
  const std::vector<float> numbers(4);
  const io::NamedTensor other{"noise", {io::DType::f32, {4}, {}, std::as_bytes(std::span(numbers))}};
  io::write_safetensors(folder_ / "b.safetensors", {&other, 1}, {});
  try {
    load_latents(folder_ / "b.safetensors");
    ADD_FAILURE() << "wanted an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(), testing::HasSubstr("wanted a tensor 'latents'"));
  }
}

TEST(Latents, of_the_wrong_length_are_refused) {
  EXPECT_THROW(to_tensor(Latents{{1, 2, 2, 2, 2}, {1, 2, 3}, ""}), Error);
}

}  // namespace
}  // namespace t2v::engine
