// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include "io/checkpoint.hpp"
#include "io/sha256.hpp"
#include "io_support.hpp"

namespace t2v::test {
namespace {

using io::Checkpoint;

std::string one_tensor(const std::string& name, char value = 'x') {
  return safetensors_bytes("{\"" + name + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                           std::string(1, value));
}

class CheckpointTest : public testing::Test {
 protected:
  TempFolder folder_;
  void SetUp() override {
    folder_.write("m/model_index.json",
                  R"({"_class_name":"TextToVideoSDPipeline","_diffusers_version":"0.42.1",
      "unet":["models.unet_3d_condition","UNet3DConditionModel"],"scheduler":["diffusers","DDIMScheduler"],
      "tokenizer":["transformers","CLIPTokenizer"],"feature_extractor":["transformers","CLIPImageProcessor"],
      "safety_checker":[null,null],"requires_safety_checker":true,"boundary_ratio":0.5,"later":{"x":1},"crop":[8,8],"empty":[]})");
    folder_.write("m/unet/config.json", R"({"_class_name":"UNet3DConditionModel","layers_per_block":2})");
    folder_.write("m/unet/diffusion_pytorch_model.safetensors", one_tensor("w"));
    folder_.write("m/scheduler/scheduler_config.json", R"({"lambda_min_clipped":-Infinity})");
    folder_.write("m/tokenizer/tokenizer_config.json", R"({"model_max_length":77})");
    folder_.write("m/tokenizer/config.json", R"({"wrong":1})");
    folder_.write("m/feature_extractor/preprocessor_config.json", R"({"size":224})");
  }
  std::string first_name(const Checkpoint& c, std::string_view variant = {}) {
    return c.component("unet").weights(variant)->tensors().begin()->first;
  }
};

TEST_F(CheckpointTest, reads_components_options_and_the_right_config_of_each_kind) {
  const auto c = Checkpoint::open(folder_ / "m");
  EXPECT_EQ(c.pipeline_class(), "TextToVideoSDPipeline");
  EXPECT_EQ(c.components().size(), 4u);
  EXPECT_FALSE(c.has("safety_checker"));
  EXPECT_EQ(c.component("unet").class_name, "UNet3DConditionModel");
  EXPECT_EQ(c.component("unet").config().get_int("layers_per_block"), 2);
  EXPECT_LT(c.component("scheduler").config().get_double("lambda_min_clipped"), -1e300);
  EXPECT_EQ(c.component("tokenizer").config().get_int("model_max_length"), 77);
  EXPECT_EQ(c.component("feature_extractor").config().get_int("size"), 224);
  EXPECT_EQ(c.index().get_double("boundary_ratio"), 0.5);
  EXPECT_EQ(first_name(c), "w");
  expect_bad([&] { c.component("vae"); }, "wanted a component 'vae', got feature_extractor, scheduler");
  expect_bad([&] { c.component("scheduler").weights(); }, "wanted weights of 'scheduler'");
}

TEST_F(CheckpointTest, Row22_bad_indexes_are_refused) {
  const auto refuse = [&](const std::string& text, const std::string& part) {
    SCOPED_TRACE(text);
    folder_.write("bad/model_index.json", text);
    expect_bad([&] { Checkpoint::open(folder_ / "bad"); }, part);
  };
  refuse("[]", "wanted an object");
  refuse("{}", "_class_name");
  refuse(R"({"_class_name":3})", "wanted a string");
  refuse(R"({"_class_name":["a"]})", "wanted a string");
  refuse(R"({"_class_name":"X","unet":["diffusers",3]})", "wanted [library, class]");
  refuse(R"({"_class_name":"X","unet":["diffusers",null]})", "wanted [library, class]");
  refuse(R"({"_class_name":"X","unet":[["a"],"B"]})", "wanted [library, class]");
  refuse(R"({"_class_name":"X","../unet":["diffusers","U"]})", "wanted a component name");
  refuse(R"({"_class_name":"X","/etc":["diffusers","U"]})", "wanted a component name");
  refuse(R"({"_class_name":"X","":["diffusers","U"]})", "wanted a component name");
  refuse(R"({"_class_name":"X","a\u0000b":["diffusers","U"]})", "wanted a component name");
  refuse(R"({"_class_name":"X","unet":["a","B"],"unet":["a","C"]})", "twice");
  refuse(std::string(2'000'000, ' '), "at most");
}

TEST_F(CheckpointTest, missing_models_and_components_say_what_is_missing) {
  expect_bad([&] { Checkpoint::open(folder_ / "none"); }, "no such folder");
  expect_bad([&] { Checkpoint::open(folder_ / "m/model_index.json"); }, "got a file");
  expect_bad([&] { Checkpoint::open(folder_ / "m/unet"); }, "without");
  std::filesystem::remove_all(folder_ / "m/unet");
  const auto c = Checkpoint::open(folder_ / "m");
  expect_bad([&] { c.component("unet").config(); }, "is missing");
  expect_bad([&] { c.component("unet").weights(); }, "wanted weights");
}

TEST_F(CheckpointTest, weights_are_found_in_the_order_of_diffusers) {
  const auto c = Checkpoint::open(folder_ / "m");
  const auto put = [&](const std::string& name, const std::string& tensor) {
    folder_.write("m/unet/" + name, one_tensor(tensor));
  };
  put("model.safetensors", "other_stem");
  put("diffusion_pytorch_model.bin", "bin");
  put("diffusion_pytorch_model.fp16.safetensors", "fp16");
  put("s.safetensors", "shard");
  folder_.write("m/unet/diffusion_pytorch_model.safetensors.index.json", R"({"weight_map":{"shard":"s.safetensors"}})");
  folder_.write("m/unet/diffusion_pytorch_model.safetensors.index.bf16.json",
                R"({"weight_map":{"shard":"s.safetensors"}})");
  const auto drop = [&](const std::string& name) { std::filesystem::remove(folder_ / ("m/unet/" + name)); };
  EXPECT_EQ(first_name(c), "w");
  EXPECT_EQ(first_name(c, "fp16"), "fp16");
  EXPECT_EQ(first_name(c, "bf16"), "shard");
  drop("diffusion_pytorch_model.safetensors");
  EXPECT_EQ(first_name(c), "shard");
  drop("diffusion_pytorch_model.safetensors.index.json");
  EXPECT_EQ(first_name(c), "other_stem");
  drop("model.safetensors");
  EXPECT_EQ(first_name(c), "bin");
  drop("diffusion_pytorch_model.bin");
  EXPECT_EQ(first_name(c), "fp16");
  drop("diffusion_pytorch_model.fp16.safetensors");
  EXPECT_EQ(first_name(c), "shard");
}

TEST_F(CheckpointTest, components_are_replaced_by_folders_files_and_whole_models) {
  folder_.write("unet2/config.json", R"({"_class_name":"UNetMotionModel"})");
  folder_.write("unet2/diffusion_pytorch_model.safetensors", one_tensor("second"));
  auto c = Checkpoint::open(folder_ / "m");
  c.override_component("unet", folder_ / "unet2");
  EXPECT_EQ(c.component("unet").class_name, "UNetMotionModel");
  EXPECT_EQ(first_name(c), "second");
  c.override_component("unet", folder_ / "m");
  EXPECT_EQ(c.component("unet").class_name, "UNet3DConditionModel");
  EXPECT_EQ(first_name(c), "w");
  c.override_component("unet", folder_.write("loose.pth", one_tensor("third")));
  EXPECT_EQ(first_name(c), "third");
  EXPECT_EQ(c.component("unet").config().get_int("layers_per_block"), 2);
  c.override_component("motion_adapter", folder_ / "unet2");
  EXPECT_TRUE(c.has("motion_adapter"));
  expect_bad([&] { c.override_component("unet", folder_ / "none"); }, "no such file or folder");
}

TEST_F(CheckpointTest, models_are_found_by_path_and_by_name) {
  folder_.write("place/tiny-model/model_index.json", "{}");
  folder_.write("place/not-a-model/readme", "");
  setenv("T2V_MODELS", ((folder_ / "none").string() + "::" + (folder_ / "place").string()).c_str(), 1);
  EXPECT_EQ(io::resolve_model("tiny-model"), folder_ / "place/tiny-model");
  EXPECT_EQ(io::resolve_model((folder_ / "m").string()), folder_ / "m");
  const auto models = io::find_models();
  EXPECT_THAT(models, testing::Contains(folder_ / "place/tiny-model"));
  EXPECT_THAT(models, testing::Not(testing::Contains(folder_ / "place/not-a-model")));
  expect_bad([] { io::resolve_model("tiny-modle"); }, "no such model: tiny-modle");
  try {
    io::resolve_model("tiny-modle");
  } catch (const Error& error) {
    EXPECT_EQ(error.hint(), "did you mean 'tiny-model'?");
  }
  expect_bad([] { io::resolve_model(""); }, "empty");
  unsetenv("T2V_MODELS");
}

TEST_F(CheckpointTest, the_content_hash_changes_with_configs_and_weights) {
  const auto hash = [&] { return io::content_hash(Checkpoint::open(folder_ / "m")); };
  const std::string first = hash();
  EXPECT_EQ(first.size(), 64u);
  EXPECT_EQ(hash(), first);
  folder_.write("m/unet/diffusion_pytorch_model.safetensors", one_tensor("w", 'y'));
  const std::string second = hash();
  EXPECT_NE(second, first);
  folder_.write("m/scheduler/scheduler_config.json", "{}");
  EXPECT_NE(hash(), second);
  folder_.write("m/unet/diffusion_pytorch_model.safetensors", one_tensor("w", 'x'));
  folder_.write("m/scheduler/scheduler_config.json", R"({"lambda_min_clipped":-Infinity})");
  EXPECT_EQ(hash(), first);
}

TEST(Sha256, agrees_with_the_examples_of_fips_180) {
  const auto digest = [](const std::string& text) {
    io::Sha256 hash;
    for (const char c : text) hash.update(std::string_view(&c, 1));
    return hash.hex();
  };
  EXPECT_EQ(digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(digest(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace t2v::test
