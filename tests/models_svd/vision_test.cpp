// SPDX-License-Identifier: Apache-2.0
// CLIPVisionModelWithProjection against transformers.
#include <string>

#include <gtest/gtest.h>

#include <c10/core/InferenceMode.h>

#include "models/vision/clip_vision.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "support/svd_golden.hpp"
#include "t2v/error.hpp"

namespace t2v::models::vision {
namespace {

using test::formula_tensor;
using test::is_close;
using test::Manifest;
using test::Shape;
using test::svd_expected;

const io::Json& golden(const std::string& name) { return test::svd_document()["vision"][name]; }

CLIPVisionModel build(const std::string& name) {
  WeightStore store(test::formula_file(test::read_manifest(golden(name)["tensors"])), {}, vision_name);
  CLIPVisionModel model(CLIPVisionConfig::from(io::Config(golden(name)["config"], "image_encoder/config.json")),
                        store.root());
  store.expect_all_taken();
  return model;
}

class ClipVision : public ::testing::TestWithParam<const char*> {};

TEST_P(ClipVision, embeddings_and_states_equal_transformers) {
  const c10::InferenceMode guard;
  const CLIPVisionModel model = build(GetParam());
  const at::Tensor pixels = formula_tensor("pixels", golden(GetParam())["pixels"].get<Shape>());
  const std::string name = "vision." + std::string(GetParam());
  EXPECT_TRUE(is_close(model.image_embeds(pixels), svd_expected(name), 5e-6));
  EXPECT_TRUE(is_close(model.forward(pixels, 1), svd_expected(name + ".penultimate"), 5e-6));
}

INSTANTIATE_TEST_SUITE_P(configs, ClipVision, ::testing::Values("gelu", "quick_gelu"),
                         [](const auto& param) { return std::string(param.param); });

TEST(ClipVisionParameters, are_the_published_number) {
  const auto file =
      std::filesystem::path(T2V_TEST_DATA) / "data/configs/stable-video-diffusion-img2vid-xt/image_encoder.json";
  WeightStore store = WeightStore::shapes_only();
  const CLIPVisionModel model(CLIPVisionConfig::from(io::Config::load(file)), store.root());
  // times 4 bytes and the header: the 2,528,371,296 bytes of the published fp32 file
  EXPECT_EQ(store.parameter_count(), 632'076'800);
}

TEST(ClipVisionNames, both_spellings_are_one_name) {
  EXPECT_EQ(vision_name("vision_model.pre_layrnorm.bias"), "vision_model.pre_layrnorm.bias");
  EXPECT_EQ(vision_name("pre_layrnorm.bias"), "vision_model.pre_layrnorm.bias");
  EXPECT_EQ(vision_name("visual_projection.weight"), "visual_projection.weight");
  EXPECT_EQ(vision_name("embeddings.position_ids"), "");
}

TEST(ClipVisionConfigs, hostile_values_are_refused) {
  for (const char* json : {R"({"patch_size": 225})", R"({"num_attention_heads": 7})", R"({"image_size": 0})",
                           R"({"hidden_act": "swiglu"})", R"({"num_hidden_layers": 100000000000})"}) {
    EXPECT_THROW(CLIPVisionConfig::from(io::Config(io::parse_json(json, "c"), "c")), Error) << json;
  }
}

}  // namespace
}  // namespace t2v::models::vision
