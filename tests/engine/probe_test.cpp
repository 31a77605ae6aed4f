// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <ATen/ops/empty.h>

#include "engine/memory_probe.hpp"
#include "models/modelscope/unet3d.hpp"
#include "models/vae/autoencoder_kl.hpp"
#include "support/net_golden.hpp"

namespace t2v::engine {
namespace {

at::Tensor meta(at::IntArrayRef shape) {
  return at::empty(shape, at::TensorOptions().dtype(at::kFloat).device(at::kMeta));
}

struct UNetCase {
  std::string name;
  // torch.utils.flop_counter 2.11.0 on the diffusers 0.42.1 network of the same config and inputs, with the math form
  // of attention (the CPU's fused one is not counted)
  int64_t flops;
};

/// diffusers projects the text to keys and values, and the time embedding, again for each frame; we do it once a clip.
int64_t saved_projections(const io::Json& spec) {
  const auto sample = spec["sample"].get<test::Shape>(), states = spec["encoder_hidden_states"].get<test::Shape>();
  int64_t flops = 0;
  for (const auto& [name, shape] : test::read_manifest(spec["tensors"])) {
    const bool is_text = name.find(".attentions.") != std::string::npos &&
                         (name.ends_with("attn2.to_k.weight") || name.ends_with("attn2.to_v.weight"));
    if (is_text) flops += 2 * states[0] * states[1] * shape[0] * shape[1];
    if (name.ends_with("time_emb_proj.weight")) flops += 2 * sample[0] * shape[0] * shape[1];
  }
  return flops * (sample[2] - 1);
}

class UNetArithmetic : public testing::TestWithParam<UNetCase> {};

TEST_P(UNetArithmetic, equals_torch_flop_counter) {
  const io::Json& spec = test::nets_document()["unet"][GetParam().name];
  WeightStore store = WeightStore::shapes_only();
  const models::modelscope::UNet3DConditionModel unet(
      models::modelscope::UNet3DConfig::from(io::Config(spec["config"], "unet")), store.root());
  const auto timesteps = spec["timesteps"].get<std::vector<double>>();
  const CallCost cost = probe([&] {
    unet.forward(meta(spec["sample"].get<test::Shape>()), timesteps,
                 meta(spec["encoder_hidden_states"].get<test::Shape>()));
  });
  EXPECT_EQ(cost.flops, GetParam().flops - saved_projections(spec));
}

INSTANTIATE_TEST_SUITE_P(configs, UNetArithmetic,
                         testing::Values(UNetCase{"basic", 1091973120}, UNetCase{"odd_size", 72111616},
                                         UNetCase{"long", 4081991680}),
                         [](const auto& info) { return info.param.name; });

TEST(Probe, vae_arithmetic_equals_torch_flop_counter) {
  const io::Json& spec = test::nets_document()["vae"]["basic"];
  WeightStore store = WeightStore::shapes_only();
  const models::vae::AutoencoderKL vae(models::vae::AutoencoderKLConfig::from(io::Config(spec["config"], "vae")),
                                       store.root());
  const CallCost cost = probe([&] { vae.decode(meta(spec["latents"].get<test::Shape>())); });
  EXPECT_EQ(cost.flops, 43011360);
}

TEST(Probe, peak_is_what_lives_at_the_same_time) {
  const CallCost cost = probe([] {
    { const at::Tensor first = meta({1000}); }  // gone before the next two
    const at::Tensor second = meta({500}), third = meta({700});
  });
  EXPECT_EQ(cost.peak_bytes, (500 + 700) * 4);
}

TEST(Probe, blocks_of_the_heap_cost_more_than_their_size_and_large_ones_do_not) {
  const int64_t large = 10 << 20;
  EXPECT_GT(probe([] { meta({1000}); }).taken_on(c10::kCPU), 4000);
  EXPECT_EQ(probe([] { meta({1000}); }).taken_on(c10::kCUDA), 4000);
  EXPECT_EQ(probe([&] { meta({large}); }).taken_on(c10::kCPU), large * 4);
}

}  // namespace
}  // namespace t2v::engine
