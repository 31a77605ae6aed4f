// SPDX-License-Identifier: Apache-2.0
// AutoencoderKLTemporalDecoder against diffusers, whole and in chunks.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <ATen/ops/cat.h>
#include <c10/core/InferenceMode.h>

#include "models/vae/autoencoder_kl.hpp"
#include "models/vae/temporal_decoder.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "support/svd_golden.hpp"

namespace t2v::models::vae {
namespace {

using test::formula_tensor;
using test::is_close;
using test::Shape;
using test::svd_expected;

const io::Json& golden(const std::string& name) { return test::svd_document()["vae"][name]; }

AutoencoderKLTemporalDecoder build(const std::string& name) {
  WeightStore store = test::formula_store(test::read_manifest(golden(name)["tensors"]));
  AutoencoderKLTemporalDecoder vae(temporal_decoder_config(io::Config(golden(name)["config"], "vae/config.json")),
                                   store.root());
  store.expect_all_taken();
  return vae;
}

class TemporalVae : public ::testing::TestWithParam<const char*> {};

TEST_P(TemporalVae, encoded_mean_equals_diffusers) {
  const c10::InferenceMode guard;
  const Tensor moments = build(GetParam()).encode(formula_tensor("image", golden(GetParam())["image"].get<Shape>()));
  EXPECT_TRUE(is_close(AutoencoderKL::mean(moments), svd_expected("vae." + std::string(GetParam()) + ".mean"), 1e-5));
}

TEST_P(TemporalVae, decoded_frames_equal_diffusers_at_the_same_chunk) {
  const c10::InferenceMode guard;
  const AutoencoderKLTemporalDecoder vae = build(GetParam());
  const Tensor latents = formula_tensor("latents", golden(GetParam())["latents"].get<Shape>());
  for (const auto& chunk : golden(GetParam())["chunks"]) {
    std::vector<Tensor> parts;
    for (const Tensor& part : latents.split(chunk.get<int64_t>())) parts.push_back(vae.decode(part));
    EXPECT_TRUE(
        is_close(at::cat(parts), svd_expected("vae." + std::string(GetParam()) + ".decoded." + chunk.dump()), 1e-5))
        << "chunks of " << chunk;
  }
}

INSTANTIATE_TEST_SUITE_P(configs, TemporalVae, ::testing::Values("basic", "one_layer", "three_layers"),
                         [](const auto& param) { return std::string(param.param); });

TEST(TemporalVaeTiling, small_frames_are_decoded_whole_and_large_ones_stay_near) {
  const c10::InferenceMode guard;
  const AutoencoderKLTemporalDecoder vae = build("basic");  // tiles of 8 latents
  const Tensor small = formula_tensor("latents", {3, 4, 8, 8}), large = formula_tensor("latents", {2, 4, 8, 20});
  EXPECT_TRUE(is_close(vae.decode_tiled(small), vae.decode(small), 0.0));
  // Norms and attention see one tile only; random weights make that as visible as it gets.
  const Tensor tiled = vae.decode_tiled(large);
  EXPECT_EQ(tiled.sizes(), (Shape{2, 3, 16, 40}));
  EXPECT_TRUE(is_close(tiled, vae.decode(large), 0.9));
}

TEST(TemporalVaeParameters, are_the_published_number) {
  const auto file = std::filesystem::path(T2V_TEST_DATA) / "data/configs/stable-video-diffusion-img2vid-xt/vae.json";
  WeightStore store = WeightStore::shapes_only();
  const AutoencoderKLTemporalDecoder vae(temporal_decoder_config(io::Config::load(file)), store.root());
  // times 4 bytes and a header of 46,352: the 391,017,740 bytes of the published fp32 file
  EXPECT_EQ(store.parameter_count(), 97'742'847);
}

}  // namespace
}  // namespace t2v::models::vae
