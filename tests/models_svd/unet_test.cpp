// SPDX-License-Identifier: Apache-2.0
// UNetSpatioTemporalConditionModel and its layers against diffusers, its strictness, and the published parameter count.
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <ATen/ops/silu.h>
#include <c10/core/InferenceMode.h>

#include "models/svd/unet.hpp"
#include "nn/spatio_temporal_resnet.hpp"
#include "support/cuda_device.hpp"
#include "support/fake_graph.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "support/refusals.hpp"
#include "support/svd_golden.hpp"
#include "t2v/error.hpp"

namespace t2v::models::svd {
namespace {

using test::formula_tensor;
using test::is_close;
using test::Manifest;
using test::Shape;
using test::svd_expected;

const io::Json& golden(const std::string& name) { return test::svd_document()["unet"][name]; }

UNetSpatioTemporalConfig config_of(const std::string& name) {
  return UNetSpatioTemporalConfig::from(io::Config(golden(name)["config"], "unet/config.json"));
}

UNetSpatioTemporalConditionModel build(const std::string& name, const Placement& placement = {}) {
  WeightStore store = test::formula_store(test::read_manifest(golden(name)["tensors"]), placement);
  UNetSpatioTemporalConditionModel unet(config_of(name), store.root());
  store.expect_all_taken();
  return unet;
}

Tensor run(const UNetSpatioTemporalConditionModel& unet, const std::string& name, const Placement& placement = {}) {
  const c10::InferenceMode guard;
  const io::Json& spec = golden(name);
  const auto input = [&](const std::string& key) {
    return formula_tensor(key, spec[key].get<Shape>()).to(placement.device, placement.dtype);
  };
  std::vector<double> ids;
  for (const auto& row : spec["added_time_ids"]) {
    for (const auto& id : row) ids.push_back(id.get<double>());
  }
  return unet.forward(input("sample"), spec["timestep"].get<double>(), input("encoder_hidden_states"), ids);
}

class SvdUNet : public ::testing::TestWithParam<const char*> {};

TEST_P(SvdUNet, one_call_equals_diffusers) {
  // The parity the project promises for one call in fp32.
  EXPECT_TRUE(is_close(run(build(GetParam()), GetParam()), svd_expected("unet." + std::string(GetParam())), 1e-5));
}

TEST_P(SvdUNet, halves_on_the_cpu_stay_near) {
  // 8 and 11 bits of mantissa through some 50 layers.
  for (const auto& [dtype, tolerance] : {std::pair{at::kBFloat16, 6e-2}, {at::kHalf, 1e-2}}) {
    const Placement placement{at::kCPU, dtype};
    EXPECT_TRUE(is_close(run(build(GetParam(), placement), GetParam(), placement),
                         svd_expected("unet." + std::string(GetParam())), tolerance))
        << dtype;
  }
}

TEST_P(SvdUNet, cuda_stays_near) {
  const auto device = t2v::test::cuda_device();
  if (!device) GTEST_SKIP() << "no CUDA device on this machine";
  for (const auto& [dtype, tolerance] : {std::pair{at::kFloat, 1e-4}, {at::kHalf, 1e-2}, {at::kBFloat16, 6e-2}}) {
    const Placement placement{*device, dtype};
    EXPECT_TRUE(is_close(run(build(GetParam(), placement), GetParam(), placement),
                         svd_expected("unet." + std::string(GetParam())), tolerance))
        << dtype;
  }
}

INSTANTIATE_TEST_SUITE_P(configs, SvdUNet, ::testing::Values("basic", "lists", "single_frame"),
                         [](const auto& param) { return std::string(param.param); });

TEST(SvdUNetForward, leaves_its_inputs_as_they_were) {
  const c10::InferenceMode guard;
  const UNetSpatioTemporalConditionModel unet = build("basic");
  const Tensor sample = formula_tensor("sample", {1, 2, 8, 8, 8});
  const Tensor token = formula_tensor("encoder_hidden_states", {1, 1, 24});
  const std::vector<double> ids{6, 127, 0.02};
  const Tensor first = unet.forward(sample, 1.5, token, ids);
  EXPECT_TRUE(is_close(sample, formula_tensor("sample", {1, 2, 8, 8, 8}), 0.0));
  EXPECT_TRUE(is_close(unet.forward(sample, 1.5, token, ids), first, 0.0));
}

TEST(SvdUNetForward, kept_features_stand_for_the_layers_that_made_them) {
  const c10::InferenceMode guard;
  const UNetSpatioTemporalConditionModel unet = build("basic");
  const Tensor sample = formula_tensor("sample", {1, 2, 8, 8, 8});
  const Tensor token = formula_tensor("encoder_hidden_states", {1, 1, 24});
  const std::vector<double> ids{6, 127, 0.02};
  t2v::models::unet::DeepFeature deep;
  const Tensor exact = unet.forward(sample, 1.5, token, ids, {&deep});
  deep.reuse = true;
  EXPECT_TRUE(is_close(unet.forward(sample, 1.5, token, ids, {&deep}), exact, 0.0));
}

TEST(SvdUNetForward, a_recorded_call_holds_nothing_of_its_step) {
  const c10::InferenceMode guard;
  const UNetSpatioTemporalConditionModel unet = build("basic");
  t2v::test::FakeGraphLog log;
  auto graph = t2v::test::fake_graph(log);
  for (const double timestep : {1.6, 0.5, -0.2, -1.5}) {
    const Tensor sample = formula_tensor("sample" + std::to_string(timestep), {1, 2, 8, 8, 8});
    const Tensor token = formula_tensor("token" + std::to_string(timestep), {1, 1, 24});
    const std::vector<double> ids{6, 127 + timestep, 0.02};
    EXPECT_TRUE(is_close(unet.forward(sample, timestep, token, ids, {.graph = &graph}),
                         unet.forward(sample, timestep, token, ids), 0.0));
  }
  EXPECT_EQ(log.replayed, 4);
}

TEST(SvdUNetForward, runs_on_shapes_alone) {
  const c10::InferenceMode guard;
  WeightStore store = WeightStore::shapes_only();
  const UNetSpatioTemporalConditionModel unet(config_of("basic"), store.root());
  const auto meta = at::TensorOptions().device(at::kMeta);
  const Tensor out = unet.forward(at::empty({1, 5, 8, 8, 8}, meta), 1.0, at::empty({1, 1, 24}, meta),
                                  std::vector<double>{6, 127, 0.02});
  EXPECT_EQ(out.sizes(), (Shape{1, 5, 4, 8, 8}));
}

TEST(SvdUNetParameters, are_the_published_number) {
  const auto file = std::filesystem::path(T2V_TEST_DATA) / "data/configs/stable-video-diffusion-img2vid-xt/unet.json";
  WeightStore store = WeightStore::shapes_only();
  const UNetSpatioTemporalConditionModel unet(UNetSpatioTemporalConfig::from(io::Config::load(file)), store.root());
  // times 4 bytes and the header: the 6,098,682,464 bytes of the published fp32 file
  EXPECT_EQ(store.parameter_count(), 1'524'623'082);
}

std::string message_of(const Manifest& manifest) {
  return test::refusal_of_weights([&] {
    WeightStore store = test::formula_store(manifest);
    const UNetSpatioTemporalConditionModel unet(config_of("basic"), store.root());
    store.expect_all_taken();
  });
}

// The tensors that folding makes unnecessary are still wanted: a file without them is another model's.
TEST(SvdUNetStrictness, a_missing_query_of_the_folded_attention_is_named) {
  Manifest manifest = test::read_manifest(golden("basic")["tensors"]);
  const std::string name = "down_blocks.0.attentions.1.temporal_transformer_blocks.0.attn2.to_q.weight";
  ASSERT_EQ(manifest.erase(name), 1U);
  EXPECT_EQ(message_of(manifest), ": " + name + ": wanted a tensor [32, 32], got none of that name");
}

TEST(SvdUNetStrictness, a_misshaped_tensor_is_named_with_both_shapes) {
  Manifest manifest = test::read_manifest(golden("basic")["tensors"]);
  manifest.at("mid_block.resnets.1.temporal_res_block.conv2.weight") = {64, 64, 1, 3, 3};
  EXPECT_EQ(message_of(manifest),
            ": mid_block.resnets.1.temporal_res_block.conv2.weight: wanted [64, 64, 3, 1, 1], got [64, 64, 1, 3, 3]");
}

TEST(SvdUNetStrictness, a_tensor_nobody_wants_is_named) {
  Manifest manifest = test::read_manifest(golden("basic")["tensors"]);
  manifest["up_blocks.1.resnets.9.time_mixer.mix_factor"] = {1};
  EXPECT_EQ(message_of(manifest),
            ": 1 tensors that the config does not describe: up_blocks.1.resnets.9.time_mixer.mix_factor");
}

/// A layer at quiet inputs, where an eps of 1e-6 or 1e-5 changes the result by some percent.
class SvdLayer : public ::testing::Test {
 protected:
  template <class Make>
  Tensor run(const std::string& name, Make make) {
    const c10::InferenceMode guard;
    WeightStore store = test::formula_store(test::read_manifest(test::svd_document()["layer"][name]));
    const Tensor result = make(store.root());
    store.expect_all_taken();
    return result;
  }
  Tensor resnet(const std::string& name, int64_t out, std::optional<int64_t> temb, double eps, double temporal_eps,
                bool switches) {
    return run(name, [&](const Weights& w) {
      const nn::SpatioTemporalResBlock block(
          w, {.spatial =
                  {.in_channels = 64, .out_channels = out, .temb_channels = temb, .eps = eps, .activation = at::silu},
              .temporal_eps = temporal_eps,
              .switches_mix = switches});
      return block.forward(quiet_, temb ? std::optional(formula_tensor("temb", {2, 24})) : std::nullopt, 3);
    });
  }
  Tensor quiet_ = formula_tensor("x", {6, 64, 5, 3}, 1e-3F);
};

TEST_F(SvdLayer, resnet_equals_diffusers) {
  EXPECT_TRUE(is_close(resnet("resnet", 64, 24, 1e-6, 1e-6, false), svd_expected("layer.resnet"), 2e-6));
}

TEST_F(SvdLayer, resnet_with_shortcut_equals_diffusers) {
  // One channel a group: norms of so few values amplify rounding.
  EXPECT_TRUE(
      is_close(resnet("resnet_shortcut", 32, 24, 1e-5, 1e-5, false), svd_expected("layer.resnet_shortcut"), 1e-5));
}

TEST_F(SvdLayer, resnet_of_the_decoder_equals_diffusers) {
  EXPECT_TRUE(is_close(resnet("resnet_vae", 96, {}, 1e-6, 1e-5, true), svd_expected("layer.resnet_vae"), 2e-6));
}

TEST_F(SvdLayer, transformer_equals_diffusers) {
  const Tensor out = run("transformer", [&](const Weights& w) {
    const TransformerSpatioTemporalModel block(w,
                                               {.in_channels = 64, .heads = 4, .layers = 2, .cross_attention_dim = 10});
    return block.forward(quiet_, formula_tensor("context", {2, 1, 10}), 3);
  });
  EXPECT_TRUE(is_close(out, svd_expected("layer.transformer"), 2e-6));
}

}  // namespace
}  // namespace t2v::models::svd
