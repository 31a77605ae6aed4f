// SPDX-License-Identifier: Apache-2.0
// UNet2DConditionModel and UNetMotionModel against diffusers, the parameter counts of published checkpoints, and
// configs that are refused.
#include <optional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <c10/core/InferenceMode.h>

#include "models/unet/unet2d.hpp"
#include "support/fake_graph.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "support/refusals.hpp"
#include "t2v/error.hpp"

namespace t2v::models::unet {
namespace {

using test::formula_tensor;
using test::is_close;
using test::Shape;

std::filesystem::path golden_folder() { return std::filesystem::path(T2V_TEST_DATA) / "golden/unet2d"; }

const io::Json& document() {
  static const io::Json json = io::load_json(golden_folder() / "unet2d.json");
  return json;
}

/// "image.sd1" -> its part of the document.
const io::Json& golden(const std::string& name) {
  const size_t dot = name.find('.');
  return document()[name.substr(0, dot)][name.substr(dot + 1)];
}

UNet2DConfig config_of(const io::Json& config) { return UNet2DConfig::from(io::Config(config, "unet/config.json")); }

Tensor run(const std::string& name, const Placement& placement = {}) {
  const c10::InferenceMode guard;
  const io::Json& spec = golden(name);
  WeightStore store = test::formula_store(test::read_manifest(spec["tensors"]), placement);
  const UNet2DConditionModel unet(config_of(spec["config"]), store.root());
  store.expect_all_taken();
  const auto input = [&](const std::string& key) {
    return formula_tensor(key, spec[key].get<Shape>()).to(placement.device, placement.dtype);
  };
  const Tensor sample = input("sample");
  std::optional<Tensor> condition;
  if (spec.contains("timestep_cond")) condition = input("timestep_cond");
  const Tensor out =
      unet.forward(sample.dim() == 4 ? sample.unsqueeze(2) : sample, spec["timesteps"].get<std::vector<double>>(),
                   input("encoder_hidden_states"), condition);
  return sample.dim() == 4 ? out.squeeze(2) : out;
}

Tensor expected(const std::string& name) {
  static const auto file = io::open_tensor_file(golden_folder() / "unet2d.safetensors");
  return as_tensor(file->tensors().at(name), file);
}

class UNet2D : public ::testing::TestWithParam<const char*> {};

TEST_P(UNet2D, one_call_equals_diffusers) {
  EXPECT_TRUE(is_close(run(GetParam()), expected(GetParam()), 1e-5));  // the parity the project promises in fp32
}

TEST_P(UNet2D, bf16_on_the_cpu_stays_near) {
  // 8 bits of mantissa through some 30 layers.
  EXPECT_TRUE(is_close(run(GetParam(), {at::kCPU, at::kBFloat16}), expected(GetParam()), 6e-2));
}

INSTANTIATE_TEST_SUITE_P(configs, UNet2D,
                         ::testing::Values("image.sd1", "image.sd2", "image.options", "motion.v1", "motion.v2",
                                           "motion.options"),
                         [](const auto& param) {
                           std::string name = param.param;
                           name[name.find('.')] = '_';
                           return name;
                         });

TEST(UNet2DForward, frames_may_have_prompts_of_their_own) {
  const c10::InferenceMode guard;
  const io::Json& spec = golden("motion.v1");
  WeightStore store = test::formula_store(test::read_manifest(spec["tensors"]));
  const UNet2DConditionModel unet(config_of(spec["config"]), store.root());
  const Tensor sample = formula_tensor("sample", {1, 4, 3, 8, 8});
  const Tensor text = formula_tensor("encoder_hidden_states", {1, 7, 16});
  EXPECT_TRUE(
      is_close(unet.forward(sample, 20.0, text.repeat_interleave(3, 0)), unet.forward(sample, 20.0, text), 1e-6));
}

TEST(UNet2DForward, kept_features_stand_for_the_layers_that_made_them) {
  const c10::InferenceMode guard;
  const io::Json& spec = golden("motion.v1");
  WeightStore store = test::formula_store(test::read_manifest(spec["tensors"]));
  const UNet2DConditionModel unet(config_of(spec["config"]), store.root());
  const Tensor sample = formula_tensor("sample", {1, 4, 3, 8, 8});
  const Tensor text = formula_tensor("encoder_hidden_states", {1, 7, 16});
  const Tensor exact = unet.forward(sample, 20.0, text);
  DeepFeature deep;
  EXPECT_TRUE(is_close(unet.forward(sample, 20.0, text, {}, {&deep}), exact, 0.0));
  deep.reuse = true;
  EXPECT_TRUE(is_close(unet.forward(sample, 20.0, text, {}, {&deep}), exact, 0.0));
  const Tensor later = unet.forward(sample, 500.0, text, {}, {&deep});
  EXPECT_FALSE(is_close(later, unet.forward(sample, 500.0, text), 1e-5)) << "the deep layers did not see the new step";
  EXPECT_FALSE(is_close(later, exact, 1e-5)) << "the last layer did";
}

TEST(UNet2DForward, a_recorded_call_holds_nothing_of_its_step) {
  const c10::InferenceMode guard;
  const io::Json& spec = golden("motion.v1");
  WeightStore store = test::formula_store(test::read_manifest(spec["tensors"]));
  const UNet2DConditionModel unet(config_of(spec["config"]), store.root());
  test::FakeGraphLog log;
  auto graph = test::fake_graph(log);
  for (const double timestep : {981.0, 500.5, 20.0, 1.0}) {
    const Tensor sample = formula_tensor("sample" + std::to_string(timestep), {1, 4, 3, 8, 8});
    const Tensor text = formula_tensor("text" + std::to_string(timestep), {1, 7, 16});
    EXPECT_TRUE(is_close(unet.forward(sample, timestep, text, {}, {.graph = &graph}),
                         unet.forward(sample, timestep, text), 0.0));
  }
  EXPECT_EQ(log.replayed, 4);
}

int64_t count(const UNet2DConfig& config) {
  WeightStore store = WeightStore::shapes_only();
  const UNet2DConditionModel unet(config, store.root());
  return store.parameter_count();
}

UNet2DConfig published(const std::string& model) {
  return UNet2DConfig::from(
      io::Config::load(std::filesystem::path(T2V_TEST_DATA) / "data/configs" / model / "unet.json"));
}

TEST(PublishedUNet2D, has_the_published_number_of_parameters) {
  EXPECT_EQ(count(published("stable-diffusion-v1-5")), 859'520'964);
  EXPECT_EQ(count(published("stable-diffusion-v1-5")), document()["parameters"]["sd1"].get<int64_t>());
  EXPECT_EQ(count(published("stable-diffusion-2-1-base")), document()["parameters"]["sd2"].get<int64_t>());
}

TEST(PublishedUNet2D, has_as_many_with_every_version_of_motion_modules) {
  for (const auto& [version, frames, has_middle] : {std::tuple{"v1", 24, false}, {"v2", 32, true}, {"v3", 32, false}}) {
    UNet2DConfig config = published("stable-diffusion-v1-5");
    config.add_motion(MotionConfig::from_adapter(io::Config(
                          {{"motion_max_seq_length", frames}, {"use_motion_mid_block", has_middle}}, "adapter")),
                      "adapter");
    EXPECT_EQ(count(config), document()["parameters"]["sd1_" + std::string(version)].get<int64_t>()) << version;
    EXPECT_EQ(count(config) - count(published("stable-diffusion-v1-5")), has_middle ? 453'209'280 : 417'137'600);
  }
}

using Hostile = test::HostileConfig;

class HostileConfig : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileConfig, is_refused_by_the_name_of_its_key) {
  test::expect_refused_by_key(GetParam(), "unet/config.json",
                              [] { config_of(io::parse_json(GetParam().json, "unet/config.json")); });
}

INSTANTIATE_TEST_SUITE_P(
    values, HostileConfig,
    ::testing::Values(Hostile{"huge_layers", R"({"layers_per_block": 1000000000})", "layers_per_block"},
                      Hostile{"no_blocks", R"({"block_out_channels": []})", "block_out_channels"},
                      Hostile{"uneven_lists", R"({"down_block_types": ["DownBlock2D"]})", "down_block_types"},
                      Hostile{"other_blocks",
                              R"({"up_block_types": ["UpBlock3D", "UpBlock2D", "UpBlock2D", "UpBlock2D"]})",
                              "up_block_types"},
                      Hostile{"groups", R"({"norm_num_groups": 33})", "norm_num_groups"},
                      Hostile{"groups_zero", R"({"norm_num_groups": 0})", "norm_num_groups"},
                      Hostile{"heads", R"({"attention_head_dim": 7})", "attention_head_dim"},
                      Hostile{"heads_zero", R"({"attention_head_dim": [8, 8, 8, 0]})", "attention_head_dim"},
                      Hostile{"xl", R"({"addition_embed_type": "text_time"})", "addition_embed_type"},
                      Hostile{"class_embedding", R"({"num_class_embeds": 1000})", "num_class_embeds"},
                      Hostile{"motion_heads", R"({"_class_name": "UNetMotionModel", "motion_num_attention_heads": 7})",
                              "motion_num_attention_heads"},
                      Hostile{"motion_frames", R"({"_class_name": "UNetMotionModel", "motion_max_seq_length": -1})",
                              "motion_max_seq_length"},
                      Hostile{"activation", R"({"act_fn": "swiglu"})", "act_fn"}),
    &test::name_of);

}  // namespace
}  // namespace t2v::models::unet
