// SPDX-License-Identifier: Apache-2.0
// AutoencoderTiny (TAESD) against diffusers: encode, decode, tiles, the published count, strictness, hostile configs.
#include <string>

#include <gtest/gtest.h>

#include <ATen/ops/cat.h>
#include <c10/core/InferenceMode.h>

#include "models/vae/autoencoder_tiny.hpp"
#include "models/vae/tiling.hpp"
#include "support/match.hpp"
#include "support/refusals.hpp"
#include "support/taesd_golden.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::vae {
namespace {

using test::formula_tensor;
using test::is_close;
using test::Manifest;
using test::Shape;
using test::taesd_expected;

constexpr double kTolerance = 1e-5;  // the parity the project promises for the VAE in fp32

const io::Json& golden(const std::string& name) { return test::taesd_document()["networks"][name]; }

AutoencoderTinyConfig config_of(const std::string& name) {
  return AutoencoderTinyConfig::from(io::Config(golden(name)["config"], "vae/config.json"));
}

AutoencoderTiny build(const std::string& name, const Manifest& manifest, const Placement& placement = {}) {
  WeightStore store(test::formula_file(manifest), placement);
  AutoencoderTiny network(config_of(name), store.root());
  store.expect_all_taken();
  return network;
}

AutoencoderTiny build(const std::string& name, const Placement& placement = {}) {
  return build(name, test::read_manifest(golden(name)["tensors"]), placement);
}

Tensor image(const std::string& name) { return formula_tensor("image", golden(name)["image"].get<Shape>()); }
Tensor latents(const std::string& name) {
  return formula_tensor("latents", golden(name)["latents"].get<Shape>(), golden(name)["latent_scale"].get<float>());
}

class TinyVae : public ::testing::TestWithParam<const char*> {
 protected:
  c10::InferenceMode guard_;
  std::string name_ = GetParam();
};

TEST_P(TinyVae, encodes_like_diffusers) {
  const AutoencoderTiny network = build(name_);
  const Tensor encoded = network.encode(image(name_));
  EXPECT_TRUE(is_close(encoded, taesd_expected(name_ + ".encoded"), kTolerance));
  Rng rng(7, at::kCPU);
  EXPECT_TRUE(is_close(network.draw(encoded, rng), encoded, 0.0)) << "nothing is drawn";
}

TEST_P(TinyVae, decodes_like_diffusers) {
  EXPECT_TRUE(is_close(build(name_).decode(latents(name_)), taesd_expected(name_ + ".decoded"), kTolerance));
}

TEST_P(TinyVae, bf16_on_the_cpu_stays_near) {
  const AutoencoderTiny network = build(name_, Placement{at::kCPU, at::kBFloat16});
  // 8 bits of mantissa through some 35 layers that nothing normalises.
  EXPECT_TRUE(is_close(network.decode(latents(name_).to(at::kBFloat16)), taesd_expected(name_ + ".decoded"), 5e-2));
}

TEST_P(TinyVae, runs_on_shapes_alone) {
  WeightStore store = WeightStore::shapes_only();
  const AutoencoderTiny network(config_of(name_), store.root());
  EXPECT_EQ(network.decode(latents(name_).to(at::kMeta)).sizes(), taesd_expected(name_ + ".decoded").sizes());
  EXPECT_EQ(network.encode(image(name_).to(at::kMeta)).sizes(), taesd_expected(name_ + ".encoded").sizes());
}

INSTANTIATE_TEST_SUITE_P(configs, TinyVae, ::testing::Values("default", "small", "options"),
                         [](const auto& param) { return std::string(param.param); });

TEST(TinyVaeDecode, in_tiles_equals_diffusers) {
  const c10::InferenceMode guard;
  const AutoencoderTiny network = build("tiled");
  const int64_t tile = golden("tiled")["tile"].get<int64_t>();
  const Tensor decoded = run_faded(latents("tiled"), {.input = tile, .output = tile * network.spatial_factor()},
                                   [&](const Tensor& part) { return network.decode(part); });
  EXPECT_TRUE(is_close(decoded, taesd_expected("tiled.decoded"), kTolerance));
}

TEST(TinyVaeDecode, a_small_image_is_not_tiled) {
  const c10::InferenceMode guard;
  const AutoencoderTiny network = build("default");
  EXPECT_TRUE(is_close(network.decode_tiled(latents("default")), network.decode(latents("default")), 0.0));
}

TEST(TinyVaeDecode, frames_do_not_see_each_other) {
  const c10::InferenceMode guard;
  const AutoencoderTiny network = build("small");
  const Tensor z = latents("small");
  const Tensor one_by_one = at::cat({network.decode(z.narrow(0, 0, 1)), network.decode(z.narrow(0, 1, 2))}, 0);
  EXPECT_TRUE(is_close(one_by_one, network.decode(z), 1e-6));
}

TEST(TinyVaeScale, is_one_as_published_and_the_configs_otherwise) {
  const c10::InferenceMode guard;
  const Tensor z = latents("default");
  EXPECT_TRUE(is_close(build("default").unscale(z), z, 0.0));
  EXPECT_TRUE(is_close(build("options").unscale(z), z / 0.5 + 0.25, 1e-6));
  EXPECT_TRUE(is_close(build("options").scale(z), (z - 0.25) * 0.5, 1e-6));
}

TEST(TinyVae, has_the_published_number_of_parameters) {
  WeightStore store = WeightStore::shapes_only();
  const AutoencoderTiny network(AutoencoderTinyConfig{}, store.root());
  EXPECT_EQ(store.parameter_count(), 2'445'063);
  EXPECT_EQ(network.spatial_factor(), 8);
  EXPECT_FALSE(network.latent_space().force_upcast);
}

std::string message_of(const Manifest& manifest) {
  return test::refusal_of_weights([&] { build("small", manifest); });
}

TEST(TinyVaeStrictness, Row13_Row14_missing_misshaped_and_unused_tensors_are_named) {
  const Manifest whole = test::read_manifest(golden("small")["tensors"]);
  Manifest missing = whole;
  ASSERT_EQ(missing.erase("decoder.layers.2.conv.4.bias"), 1U);
  EXPECT_EQ(message_of(missing), ": decoder.layers.2.conv.4.bias: wanted a tensor [8], got none of that name");
  Manifest misshaped = whole;
  misshaped.at("encoder.layers.1.weight") = {16, 16, 1, 3};
  EXPECT_EQ(message_of(misshaped), ": encoder.layers.1.weight: wanted [16, 16, 3, 3], got [16, 16, 1, 3]");
  Manifest unused = whole;
  unused["encoder.layers.1.bias"] = {16};  // halving has none
  EXPECT_EQ(message_of(unused), ": 1 tensors that the config does not describe: encoder.layers.1.bias");
}

using Hostile = test::HostileConfig;

class HostileTinyVaeConfig : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileTinyVaeConfig, is_refused_by_the_name_of_its_key) {
  const std::string where = "vae/config.json";
  test::expect_refused_by_key(GetParam(), where, [&] {
    AutoencoderTinyConfig::from(io::Config(io::parse_json(GetParam().json, where), where));
  });
}

INSTANTIATE_TEST_SUITE_P(
    values, HostileTinyVaeConfig,
    ::testing::Values(Hostile{"channels", R"({"latent_channels": 0})", "latent_channels"},
                      Hostile{"widths", R"({"decoder_block_out_channels": [64, 64, 32, 64]})",
                              "decoder_block_out_channels"},
                      Hostile{"no_levels", R"({"encoder_block_out_channels": [], "num_encoder_blocks": []})",
                              "encoder_block_out_channels"},
                      Hostile{"lengths", R"({"num_encoder_blocks": [1, 3]})", "num_encoder_blocks"},
                      Hostile{"levels", R"({"decoder_block_out_channels": [64], "num_decoder_blocks": [3]})",
                              "decoder_block_out_channels"},
                      Hostile{"blocks", R"({"num_decoder_blocks": [1000000, 3, 3, 1]})", "num_decoder_blocks"},
                      Hostile{"negative", R"({"num_decoder_blocks": [-1, 3, 3, 1]})", "num_decoder_blocks"},
                      Hostile{"factor", R"({"upsampling_scaling_factor": 3})", "upsampling_scaling_factor"},
                      Hostile{"upsampling", R"({"upsample_fn": "bilinear"})", "upsample_fn"},
                      Hostile{"scaling", R"({"scaling_factor": 0})", "scaling_factor"},
                      Hostile{"activation", R"({"act_fn": "elu"})", "act_fn"}),
    &test::name_of);

}  // namespace
}  // namespace t2v::models::vae
