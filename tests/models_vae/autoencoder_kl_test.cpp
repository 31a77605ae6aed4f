// SPDX-License-Identifier: Apache-2.0
// AutoencoderKL against diffusers: encode, posterior sample, decode, tiles, old names, strictness, published counts.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <ATen/ops/cat.h>
#include <c10/core/InferenceMode.h>

#include "models/vae/autoencoder_kl.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "support/refusals.hpp"
#include "t2v/error.hpp"

namespace t2v::models::vae {
namespace {

using test::expected;
using test::formula_tensor;
using test::is_close;
using test::Manifest;
using test::Shape;

constexpr double kTolerance = 1e-5;  // the parity the project promises for the VAE in fp32

const io::Json& golden(const std::string& name) { return test::nets_document()["vae"][name]; }

AutoencoderKLConfig config_of(const std::string& name) {
  return AutoencoderKLConfig::from(io::Config(golden(name)["config"], "vae/config.json"));
}

AutoencoderKL build(const std::string& name, const Manifest& manifest, const Placement& placement = {}) {
  WeightStore store(test::formula_file(manifest), placement, rename_old_attention);
  AutoencoderKL network(config_of(name), store.root());
  store.expect_all_taken();
  return network;
}

AutoencoderKL build(const std::string& name, const Placement& placement = {}) {
  return build(name, test::read_manifest(golden(name)["tensors"]), placement);
}

Tensor image(const std::string& name) { return formula_tensor("image", golden(name)["image"].get<Shape>()); }
Tensor latents(const std::string& name) { return formula_tensor("latents", golden(name)["latents"].get<Shape>()); }

class Vae : public ::testing::TestWithParam<const char*> {
 protected:
  c10::InferenceMode guard_;
  std::string name_ = GetParam();
  bool tiling_ = golden(name_)["tiling"].get<bool>();
};

TEST_P(Vae, encodes_like_diffusers) {
  const AutoencoderKL network = build(name_);
  const Tensor moments = tiling_ ? network.encode_tiled(image(name_)) : network.encode(image(name_));
  EXPECT_TRUE(is_close(AutoencoderKL::mean(moments), expected("vae." + name_ + ".mean"), kTolerance));
  EXPECT_TRUE(is_close(AutoencoderKL::logvar(moments), expected("vae." + name_ + ".logvar"), kTolerance));
  Rng rng(7, at::kCPU);
  EXPECT_TRUE(is_close(AutoencoderKL::sample(moments, rng), expected("vae." + name_ + ".sample"), kTolerance));
}

TEST_P(Vae, decodes_like_diffusers) {
  const AutoencoderKL network = build(name_);
  const Tensor decoded = tiling_ ? network.decode_tiled(latents(name_)) : network.decode(latents(name_));
  EXPECT_TRUE(is_close(decoded, expected("vae." + name_ + ".decoded"), kTolerance));
}

TEST_P(Vae, bf16_on_the_cpu_stays_near) {
  const AutoencoderKL network = build(name_, Placement{at::kCPU, at::kBFloat16});
  const Tensor z = latents(name_).to(at::kBFloat16);
  // 8 bits of mantissa through some 15 layers.
  EXPECT_TRUE(
      is_close(tiling_ ? network.decode_tiled(z) : network.decode(z), expected("vae." + name_ + ".decoded"), 3e-2));
}

TEST_P(Vae, runs_on_shapes_alone) {
  WeightStore store = WeightStore::shapes_only();
  const AutoencoderKL network(config_of(name_), store.root());
  EXPECT_EQ(network.decode(latents(name_).to(at::kMeta)).size(1), config_of(name_).out_channels);
  EXPECT_EQ(network.encode(image(name_).to(at::kMeta)).size(1), 2 * config_of(name_).latent_channels);
}

INSTANTIATE_TEST_SUITE_P(configs, Vae, ::testing::Values("basic", "options", "tiled"),
                         [](const auto& param) { return std::string(param.param); });

TEST(VaeDecode, frames_do_not_see_each_other) {
  const c10::InferenceMode guard;
  const AutoencoderKL network = build("basic");
  const Tensor z = latents("basic");
  const Tensor one_by_one = at::cat({network.decode(z.narrow(0, 0, 1)), network.decode(z.narrow(0, 1, 2))}, 0);
  EXPECT_TRUE(is_close(one_by_one, network.decode(z), 1e-6));
}

TEST(VaeDecode, a_small_image_is_not_tiled) {
  const c10::InferenceMode guard;
  const AutoencoderKL network = build("tiled");
  const Tensor z = latents("tiled").narrow(2, 0, 8).narrow(3, 0, 8);
  EXPECT_TRUE(is_close(network.decode_tiled(z), network.decode(z), 0.0));
}

TEST(VaeScale, is_undone_by_unscale_and_knows_the_shift) {
  const c10::InferenceMode guard;
  const AutoencoderKL network = build("options");  // scaling 0.5, shift 0.25
  const Tensor z = latents("options");
  EXPECT_TRUE(is_close(network.unscale(network.scale(z)), z, 1e-6));
  EXPECT_NEAR(network.unscale(z).const_data_ptr<float>()[0], z.const_data_ptr<float>()[0] / 0.5 + 0.25, 1e-6);
}

TEST(VaeNames, old_attention_names_and_1x1_weights_load_to_the_same_network) {
  const c10::InferenceMode guard;
  // Values depend on names, so the old file is made from the new one's values.
  const Manifest manifest = test::read_manifest(golden("basic")["tensors"]);
  std::vector<std::vector<float>> storage;
  std::vector<io::NamedTensor> tensors;
  storage.reserve(manifest.size());
  int renamed = 0;
  for (const auto& [name, shape] : manifest) {
    std::string old_name = name;
    Shape old_shape = shape;
    for (const auto& [from, to] : {std::pair<std::string, std::string>{".to_q.", ".query."},
                                   {".to_k.", ".key."},
                                   {".to_v.", ".value."},
                                   {".to_out.0.", ".proj_attn."}}) {
      if (const size_t at = old_name.find(from); at != std::string::npos) {
        old_name.replace(at, from.size(), to);
        ++renamed;
        if (shape.size() == 2) {
          old_shape = {shape[0], shape[1], 1, 1};
        }
      }
    }
    storage.push_back(test::formula_weight(name, shape));
    tensors.push_back({old_name, {io::DType::f32, old_shape, {}, std::as_bytes(std::span(storage.back()))}});
  }
  ASSERT_EQ(renamed, 16);  // weight and bias of 4 layers, in encoder and decoder
  const test::TemporaryFile file("old-vae");
  io::write_safetensors(file.path(), tensors, {});
  WeightStore store(io::open_tensor_file(file.path()), {}, rename_old_attention);
  const AutoencoderKL network(config_of("basic"), store.root());
  store.expect_all_taken();
  EXPECT_TRUE(is_close(network.decode(latents("basic")), expected("vae.basic.decoded"), kTolerance));
}

TEST(VaeNames, other_names_stay) {
  EXPECT_EQ(rename_old_attention("decoder.mid_block.attentions.0.group_norm.weight"),
            "decoder.mid_block.attentions.0.group_norm.weight");
  EXPECT_EQ(rename_old_attention("decoder.mid_block.attentions.0.proj_attn.bias"),
            "decoder.mid_block.attentions.0.to_out.0.bias");
}

std::string message_of(const Manifest& manifest) {
  return test::refusal_of_weights([&] { build("basic", manifest); });
}

TEST(VaeStrictness, Row14_missing_misshaped_and_unused_tensors_are_named) {
  const Manifest whole = test::read_manifest(golden("basic")["tensors"]);
  Manifest missing = whole;
  ASSERT_EQ(missing.erase("post_quant_conv.weight"), 1U);
  EXPECT_EQ(message_of(missing), ": post_quant_conv.weight: wanted a tensor [4, 4, 1, 1], got none of that name");
  Manifest misshaped = whole;
  misshaped.at("decoder.conv_in.weight") = {32, 5, 3, 3};
  EXPECT_EQ(message_of(misshaped), ": decoder.conv_in.weight: wanted [32, 4, 3, 3], got [32, 5, 3, 3]");
  Manifest unused = whole;
  unused["encoder.down_blocks.1.downsamplers.0.conv.bias"] = {32};
  EXPECT_EQ(message_of(unused),
            ": 1 tensors that the config does not describe: encoder.down_blocks.1.downsamplers.0.conv.bias");
}

class PublishedVae : public ::testing::TestWithParam<const char*> {};

TEST_P(PublishedVae, has_the_published_number_of_parameters) {
  const auto file = std::filesystem::path(T2V_TEST_DATA) / "data/configs" / GetParam() / "vae.json";
  const AutoencoderKLConfig config = AutoencoderKLConfig::from(io::Config::load(file));
  EXPECT_DOUBLE_EQ(config.scaling_factor, 0.18215);
  WeightStore store = WeightStore::shapes_only();
  const AutoencoderKL network(config, store.root());
  EXPECT_EQ(store.parameter_count(), 83'653'863);
  EXPECT_EQ(network.spatial_factor(), 8);
}

INSTANTIATE_TEST_SUITE_P(configs, PublishedVae,
                         ::testing::Values("text-to-video-ms-1.7b", "potat1", "stable-diffusion-v1-5",
                                           "stable-diffusion-2-1-base"),
                         [](const auto& param) {
                           std::string name = param.param;
                           for (char& c : name) {
                             c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           }
                           return name;
                         });

using Hostile = test::HostileConfig;

class HostileVaeConfig : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileVaeConfig, is_refused_by_the_name_of_its_key) {
  const std::string where = "vae/config.json";
  test::expect_refused_by_key(
      GetParam(), where, [&] { AutoencoderKLConfig::from(io::Config(io::parse_json(GetParam().json, where), where)); });
}

INSTANTIATE_TEST_SUITE_P(
    values, HostileVaeConfig,
    ::testing::Values(Hostile{"channels", R"({"block_out_channels": [0]})", "block_out_channels"},
                      Hostile{"lengths", R"({"block_out_channels": [64, 64]})", "down_block_types"},
                      Hostile{"type", R"({"up_block_types": ["AttnUpDecoderBlock2D"]})", "up_block_types"},
                      Hostile{"groups", R"({"norm_num_groups": 7})", "norm_num_groups"},
                      Hostile{"layers", R"({"layers_per_block": 1000000})", "layers_per_block"},
                      Hostile{"scaling", R"({"scaling_factor": 0})", "scaling_factor"},
                      Hostile{"upcast", R"({"force_upcast": 1})", "force_upcast"},
                      Hostile{"activation", R"({"act_fn": "elu"})", "act_fn"}),
    &test::name_of);

}  // namespace
}  // namespace t2v::models::vae
