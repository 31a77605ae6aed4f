// SPDX-License-Identifier: Apache-2.0
// UNet3DConditionModel against diffusers, its strictness, and the parameter counts of published checkpoints.
#include <cctype>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <c10/core/InferenceMode.h>

#include "models/modelscope/unet3d.hpp"
#include "support/cuda_device.hpp"
#include "support/fake_graph.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "support/refusals.hpp"
#include "t2v/error.hpp"

namespace t2v::models::modelscope {
namespace {

using test::expected;
using test::formula_tensor;
using test::is_close;
using test::Manifest;
using test::Shape;

const io::Json& golden(const std::string& name) { return test::nets_document()["unet"][name]; }

UNet3DConfig config_of(const std::string& name) {
  return UNet3DConfig::from(io::Config(golden(name)["config"], "unet/config.json"));
}

UNet3DConditionModel build(const std::string& name, const Placement& placement = {}) {
  WeightStore store = test::formula_store(test::read_manifest(golden(name)["tensors"]), placement);
  UNet3DConditionModel unet(config_of(name), store.root());
  store.expect_all_taken();
  return unet;
}

Tensor run(const UNet3DConditionModel& unet, const std::string& name, const Placement& placement = {}) {
  const c10::InferenceMode guard;
  const io::Json& spec = golden(name);
  const auto input = [&](const std::string& key) {
    return formula_tensor(key, spec[key].get<Shape>()).to(placement.device, placement.dtype);
  };
  std::optional<Tensor> condition;
  if (spec.contains("timestep_cond")) {
    condition = input("timestep_cond");
  }
  return unet.forward(input("sample"), spec["timesteps"].get<std::vector<double>>(), input("encoder_hidden_states"),
                      condition);
}

class UNet3D : public ::testing::TestWithParam<const char*> {};

TEST_P(UNet3D, one_call_equals_diffusers) {
  // The parity the project promises for one call in fp32.
  EXPECT_TRUE(is_close(run(build(GetParam()), GetParam()), expected("unet." + std::string(GetParam())), 1e-5));
}

TEST_P(UNet3D, bf16_on_the_cpu_stays_near) {
  const Placement placement{at::kCPU, at::kBFloat16};
  // 8 bits of mantissa through some 50 layers; diffusers itself is as far from its fp32 result.
  EXPECT_TRUE(is_close(run(build(GetParam(), placement), GetParam(), placement),
                       expected("unet." + std::string(GetParam())), 6e-2));
}

TEST_P(UNet3D, fp16_on_the_cpu_stays_near) {
  const Placement placement{at::kCPU, at::kHalf};
  EXPECT_TRUE(is_close(run(build(GetParam(), placement), GetParam(), placement),
                       expected("unet." + std::string(GetParam())), 1e-2));  // 11 bits of mantissa
}

TEST_P(UNet3D, cuda_stays_near) {
  const auto device = t2v::test::cuda_device();
  if (!device) GTEST_SKIP() << "no CUDA device on this machine";
  for (const auto& [dtype, tolerance] : {std::pair{at::kFloat, 1e-4}, {at::kHalf, 1e-2}, {at::kBFloat16, 6e-2}}) {
    const Placement placement{*device, dtype};
    EXPECT_TRUE(is_close(run(build(GetParam(), placement), GetParam(), placement),
                         expected("unet." + std::string(GetParam())), tolerance))
        << dtype;
  }
}

INSTANTIATE_TEST_SUITE_P(configs, UNet3D, ::testing::Values("basic", "odd_size", "single_frame", "options", "long"),
                         [](const auto& param) { return std::string(param.param); });

TEST(UNet3DForward, one_timestep_serves_the_whole_batch) {
  const c10::InferenceMode guard;
  const UNet3DConditionModel unet = build("single_frame");
  const Tensor sample = formula_tensor("sample", {2, 4, 1, 4, 6});
  const Tensor text = formula_tensor("encoder_hidden_states", {2, 3, 12});
  EXPECT_TRUE(is_close(unet.forward(sample, 20.0, text), expected("unet.single_frame"), 1e-5));
}

TEST(UNet3DForward, leaves_its_inputs_as_they_were) {
  const c10::InferenceMode guard;
  const UNet3DConditionModel unet = build("basic");
  const Tensor sample = formula_tensor("sample", {1, 4, 2, 8, 8});
  const Tensor text = formula_tensor("encoder_hidden_states", {1, 7, 16});
  const Tensor first = unet.forward(sample, 500.0, text);
  EXPECT_TRUE(is_close(sample, formula_tensor("sample", {1, 4, 2, 8, 8}), 0.0));
  EXPECT_TRUE(is_close(unet.forward(sample, 500.0, text), first, 0.0));
}

TEST(UNet3DForward, kept_features_stand_for_the_layers_that_made_them) {
  const c10::InferenceMode guard;
  const UNet3DConditionModel unet = build("basic");
  const Tensor sample = formula_tensor("sample", {1, 4, 2, 8, 8});
  const Tensor text = formula_tensor("encoder_hidden_states", {1, 7, 16});
  t2v::models::unet::DeepFeature deep;
  const Tensor exact = unet.forward(sample, 500.0, text, {&deep});
  deep.reuse = true;
  EXPECT_TRUE(is_close(unet.forward(sample, 500.0, text, {&deep}), exact, 0.0));
}

TEST(UNet3DForward, a_recorded_call_holds_nothing_of_its_step) {
  const c10::InferenceMode guard;
  const UNet3DConditionModel unet = build("basic");
  t2v::test::FakeGraphLog log;
  auto graph = t2v::test::fake_graph(log);
  for (const double timestep : {981.0, 500.5, 20.0, 1.0}) {
    const Tensor sample = formula_tensor("sample" + std::to_string(timestep), {1, 4, 2, 8, 8});
    const Tensor text = formula_tensor("text" + std::to_string(timestep), {1, 7, 16});
    EXPECT_TRUE(
        is_close(unet.forward(sample, timestep, text, {.graph = &graph}), unet.forward(sample, timestep, text), 0.0));
  }
  EXPECT_EQ(log.replayed, 4);
}

TEST(UNet3DForward, runs_on_shapes_alone) {
  const c10::InferenceMode guard;
  WeightStore store = WeightStore::shapes_only();
  const UNet3DConditionModel unet(config_of("basic"), store.root());
  const auto meta = at::TensorOptions().device(at::kMeta);
  const Tensor out = unet.forward(at::empty({2, 4, 5, 8, 8}, meta), 1.0, at::empty({2, 77, 16}, meta));
  EXPECT_EQ(out.sizes(), (Shape{2, 4, 5, 8, 8}));
}

class PublishedUNet : public ::testing::TestWithParam<const char*> {};

TEST_P(PublishedUNet, has_the_published_number_of_parameters) {
  const auto file = std::filesystem::path(T2V_TEST_DATA) / "data/configs" / GetParam() / "unet.json";
  const UNet3DConfig config = UNet3DConfig::from(io::Config::load(file));
  const auto start = std::chrono::steady_clock::now();
  WeightStore store = WeightStore::shapes_only();
  const UNet3DConditionModel unet(config, store.root());
  const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
  RecordProperty("milliseconds", std::to_string(elapsed.count()));
  EXPECT_EQ(store.parameter_count(), 1'411'233'860);
  EXPECT_LT(elapsed.count(), 1000.0) << "building from shapes alone must stay cheap: --dry-run and info do it";
}

INSTANTIATE_TEST_SUITE_P(configs, PublishedUNet, ::testing::Values("text-to-video-ms-1.7b", "potat1"),
                         [](const auto& param) {
                           std::string name = param.param;
                           for (char& c : name) {
                             c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           }
                           return name;
                         });

// 1,411,233,860 * 4 bytes and the 182,954-byte header are the 5,645,118,394 bytes of the published fp32 file.

std::string message_of(const Manifest& manifest) {
  return test::refusal_of_weights([&] {
    WeightStore store = test::formula_store(manifest);
    const UNet3DConditionModel unet(config_of("basic"), store.root());
    store.expect_all_taken();
  });
}

TEST(UNet3DStrictness, Row13_a_missing_tensor_is_named) {
  Manifest manifest = test::read_manifest(golden("basic")["tensors"]);
  ASSERT_EQ(manifest.erase("down_blocks.0.temp_convs.1.conv4.3.bias"), 1U);
  EXPECT_EQ(message_of(manifest),
            ": down_blocks.0.temp_convs.1.conv4.3.bias: wanted a tensor [32], got none of that name");
}

TEST(UNet3DStrictness, Row14_a_misshaped_tensor_is_named_with_both_shapes) {
  Manifest manifest = test::read_manifest(golden("basic")["tensors"]);
  manifest.at("down_blocks.0.temp_convs.0.conv2.3.weight") = {32, 32, 1, 3, 3};
  EXPECT_EQ(message_of(manifest),
            ": down_blocks.0.temp_convs.0.conv2.3.weight: wanted [32, 32, 3, 1, 1], got "
            "[32, 32, 1, 3, 3]");
}

TEST(UNet3DStrictness, a_renamed_tensor_is_missing) {
  Manifest manifest = test::read_manifest(golden("basic")["tensors"]);
  auto node = manifest.extract("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight");
  node.key() = "mid_block.attentions.0.transformer_blocks.0.attn2.to_key.weight";
  manifest.insert(std::move(node));
  EXPECT_EQ(message_of(manifest),
            ": mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight: wanted a tensor "
            "[64, 16], got none of that name");
}

TEST(UNet3DStrictness, Row13_a_tensor_nobody_wants_is_named) {
  Manifest manifest = test::read_manifest(golden("basic")["tensors"]);
  manifest["up_blocks.7.resnets.0.norm1.weight"] = {32};
  EXPECT_EQ(message_of(manifest), ": 1 tensors that the config does not describe: up_blocks.7.resnets.0.norm1.weight");
}

}  // namespace
}  // namespace t2v::models::modelscope
