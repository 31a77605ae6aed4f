// SPDX-License-Identifier: Apache-2.0
// The arithmetic that the engine counts, of every network, against torch.utils.flop_counter on the network of diffusers
// or transformers (scripts/golden/flops.py). Where we do less, what is saved is a formula here, with its reason.
#include <array>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include "engine/memory_probe.hpp"
#include "models/modelscope/unet3d.hpp"
#include "models/svd/unet.hpp"
#include "models/text/clip_text.hpp"
#include "models/text/t5_encoder.hpp"
#include "models/unet/unet2d.hpp"
#include "models/vae/autoencoder_kl.hpp"
#include "models/vae/autoencoder_tiny.hpp"
#include "models/vae/temporal_decoder.hpp"
#include "models/vision/clip_vision.hpp"
#include "support/net_golden.hpp"
#include "support/svd_checkpoint.hpp"
#include "support/taesd_files.hpp"
#include "tensor/flops.hpp"

namespace t2v::engine {
namespace {

using io::Json;
using test::Shape;

Json load(const std::string& file) { return io::load_json(std::filesystem::path(T2V_TEST_DATA) / "golden" / file); }
const Json& counted_by_torch() {
  static const Json document = load("flops/flops.json");
  return document;
}
const Json& unet2d_document() {
  static const Json document = load("unet2d/unet2d.json");
  return document;
}
const Json& encoders_document() {
  static const Json document = load("text/encoders.json");
  return document;
}

io::Config config_of(const Json& spec) { return {spec["config"], "config.json"}; }
at::Tensor input(const Json& spec, const std::string& name) { return meta(spec[name].get<Shape>()); }

class Arithmetic : public testing::Test {
 protected:
  const c10::InferenceMode guard_;

  template <class Network, class Config>
  static Network build(const Config& config) {
    WeightStore store = WeightStore::shapes_only();
    return Network(config, store.root());
  }
  static int64_t flops(const std::function<void()>& call) {
    const int64_t before = counted_flops;
    call();
    return counted_flops - before;
  }
};

std::optional<at::Tensor> timestep_condition(const Json& spec) {
  return spec.contains("timestep_cond") ? std::optional(input(spec, "timestep_cond")) : std::nullopt;
}

/// diffusers projects the text to keys and values, and the time embedding, again for each of F frames; we do it once a
/// clip. sample [B, C, F, H, W] or [B, C, H, W].
int64_t saved_projections(const Json& spec) {
  const auto sample = spec["sample"].get<Shape>(), states = spec["encoder_hidden_states"].get<Shape>();
  int64_t flops = 0;
  for (const auto& [name, shape] : test::read_manifest(spec["tensors"])) {
    const bool is_text = name.find(".attentions.") != std::string::npos &&
                         (name.ends_with("attn2.to_k.weight") || name.ends_with("attn2.to_v.weight"));
    if (is_text) flops += 2 * states[0] * states[1] * shape[0] * shape[1];
    if (name.ends_with("time_emb_proj.weight")) flops += 2 * sample[0] * shape[0] * shape[1];
  }
  return sample.size() == 5 ? flops * (sample[2] - 1) : 0;
}

TEST_F(Arithmetic, of_the_3d_unet) {
  for (const auto& [name, spec] : test::nets_document()["unet"].items()) {
    using namespace models::modelscope;
    const auto unet = build<UNet3DConditionModel>(UNet3DConfig::from(config_of(spec)));
    const auto timesteps = spec["timesteps"].get<std::vector<double>>();
    EXPECT_EQ(flops([&] {
                unet.forward(input(spec, "sample"), timesteps, input(spec, "encoder_hidden_states"),
                             timestep_condition(spec));
              }),
              counted_by_torch()["unet3d"][name].get<int64_t>() - saved_projections(spec))
        << name;
  }
}

TEST_F(Arithmetic, of_the_2d_unet_and_its_motion_modules) {
  using namespace models::unet;
  for (const auto& [kind, counts] : {std::pair{"image", "unet2d"}, std::pair{"motion", "motion"}}) {
    for (const auto& [name, spec] : unet2d_document()[kind].items()) {
      const auto unet = build<UNet2DConditionModel>(UNet2DConfig::from(config_of(spec)));
      const auto timesteps = spec["timesteps"].get<std::vector<double>>();
      const at::Tensor sample = input(spec, "sample");
      EXPECT_EQ(flops([&] {
                  unet.forward(sample.dim() == 4 ? sample.unsqueeze(2) : sample, timesteps,
                               input(spec, "encoder_hidden_states"), timestep_condition(spec));
                }),
                counted_by_torch()[counts][name].get<int64_t>() - saved_projections(spec))
          << kind << " " << name;
    }
  }
}

/// Pixels of a level, each level's sides being the halves, rounded up, of those before.
int64_t pixels_at(int64_t height, int64_t width, int64_t level) {
  for (; level > 0; --level) {
    height = (height + 1) / 2;
    width = (width + 1) / 2;
  }
  return height * width;
}

/// The level of a block by its name: "down_blocks.1.." is 1, "mid_block" the last, "up_blocks.0.." the last too.
int64_t level_of(const std::string& name, int64_t levels) {
  if (name.starts_with("mid_block.")) return levels - 1;
  const int64_t index = name[name.find('.') + 1] - '0';
  return name.starts_with("down_blocks.") ? index : levels - 1 - index;
}

/// What an SVD UNet need not do as diffusers does. Attention to one token gives that token's value whatever the query:
/// query, key, logits and the two other products become one product of a token a video, made of weights at load. The
/// time embedding is made once, not once a video, and projected once a video, not once a frame; positions of frames are
/// made once, not once a video.
int64_t saved_by_folding(const Json& spec) {
  const auto sample = spec["sample"].get<Shape>();  // [B, F, C, H, W]
  const int64_t batch = sample[0], frames = sample[1];
  const auto levels = static_cast<int64_t>(spec["config"]["block_out_channels"].size());
  int64_t flops = 0;
  for (const auto& [name, shape] : test::read_manifest(spec["tensors"])) {
    if (name.starts_with("time_embedding.linear_") && name.ends_with(".weight")) {
      flops += 2 * (batch - 1) * shape[0] * shape[1];
    }
    if (name.ends_with("time_emb_proj.weight")) flops += 2 * batch * (frames - 1) * shape[0] * shape[1];
    if (name.find(".time_pos_embed.linear_") != std::string::npos && name.ends_with(".weight")) {
      flops += 2 * (batch - 1) * frames * shape[0] * shape[1];
    }
    if (!name.ends_with("attn2.to_k.weight")) continue;
    const int64_t width = shape[0], context = shape[1];
    const int64_t pixels = pixels_at(sample[3], sample[4], level_of(name, levels));
    const bool over_frames = name.find(".temporal_transformer_blocks.") != std::string::npos;
    const int64_t queries = batch * frames * pixels, keys = batch * (over_frames ? pixels : frames);
    flops += 2 * queries * width * width * 2;  // to_q, to_out
    flops += 2 * keys * context * width * 2;   // to_k, to_v
    flops += 4 * queries * width;              // logits and their mean of one value
    flops -= 2 * batch * context * width;      // what is left
  }
  return flops;
}

TEST_F(Arithmetic, of_the_spatio_temporal_unet) {
  using namespace models::svd;
  for (const auto& [name, spec] : test::svd_document()["unet"].items()) {
    const auto unet = build<UNetSpatioTemporalConditionModel>(UNetSpatioTemporalConfig::from(config_of(spec)));
    std::vector<double> ids;
    for (const auto& row : spec["added_time_ids"]) ids.insert(ids.end(), row.begin(), row.end());
    EXPECT_EQ(flops([&] {
                unet.forward(input(spec, "sample"), spec["timestep"].get<double>(),
                             input(spec, "encoder_hidden_states"), ids);
              }),
              counted_by_torch()["svd"][name].get<int64_t>() - saved_by_folding(spec))
        << name;
  }
}

/// Both directions of an autoencoder of `document`, for every case that is counted: tiles are a caller's choice.
template <class Network, class ReadConfig>
void expect_autoencoders(const Json& document, const std::string& counts, const ReadConfig& read_config) {
  for (const auto& [name, wanted] : counted_by_torch()[counts].items()) {
    const Json& spec = document[name];
    WeightStore store = WeightStore::shapes_only();
    const Network vae(read_config(config_of(spec)), store.root());
    EXPECT_EQ(probe([&] { vae.encode(input(spec, "image")); }).flops, wanted["encode"]) << name;
    EXPECT_EQ(probe([&] { vae.decode(input(spec, "latents")); }).flops, wanted["decode"]) << name;
  }
}

TEST_F(Arithmetic, of_autoencoders_in_both_directions) {
  using namespace models::vae;
  expect_autoencoders<AutoencoderKL>(test::nets_document()["vae"], "kl", &AutoencoderKLConfig::from);
  expect_autoencoders<AutoencoderTiny>(test::taesd_document()["networks"], "tiny", &AutoencoderTinyConfig::from);
  expect_autoencoders<AutoencoderKLTemporalDecoder>(test::svd_document()["vae"], "temporal_decoder",
                                                    &temporal_decoder_config);
}

// On data: libtorch looks up no embeddings of shapes.
TEST_F(Arithmetic, of_text_encoders) {
  using namespace models::text;
  const auto ids = [](int64_t length) { return at::zeros({2, length}, c10::kLong); };
  for (const auto& [name, spec] : encoders_document()["clip"].items()) {
    const CLIPTextConfig config = CLIPTextConfig::from(config_of(spec));
    WeightStore store(test::formula_file(test::read_manifest(spec["tensors"])), {}, clip_name);
    const CLIPTextModel model(config, store.root());
    for (const int64_t skip : {0, 1}) {  // transformers runs the layers that are left out too; counted is one without
      EXPECT_EQ(flops([&] { model.forward(ids(config.max_position_embeddings), skip); }),
                counted_by_torch()["clip_text"][name][std::to_string(skip)].get<int64_t>())
          << name << " without " << skip;
    }
  }
  for (const auto& [name, spec] : encoders_document()["t5"].items()) {
    const auto file = test::formula_file(test::read_manifest(spec["tensors"]));
    WeightStore store(file, {}, t5_rename(*file));
    const T5Encoder model(T5Config::from(config_of(spec), /*is_umt5=*/name == "umt5"), store.root());
    EXPECT_EQ(flops([&] { model.forward(ids(70)); }), counted_by_torch()["t5"][name].get<int64_t>()) << name;
  }
}

TEST_F(Arithmetic, of_the_image_encoder) {
  using namespace models::vision;
  for (const auto& [name, spec] : test::svd_document()["vision"].items()) {
    const auto model = build<CLIPVisionModel>(CLIPVisionConfig::from(config_of(spec)));
    EXPECT_EQ(flops([&] { model.image_embeds(input(spec, "pixels")); }),
              counted_by_torch()["clip_vision"][name].get<int64_t>())
        << name;
  }
}

TEST_F(Arithmetic, of_a_run_is_that_of_its_shapes) {
  using namespace models::modelscope;
  const Json& spec = test::nets_document()["unet"]["basic"];
  const UNet3DConfig config = UNet3DConfig::from(config_of(spec));
  const auto timesteps = spec["timesteps"].get<std::vector<double>>();
  const auto shapes = build<UNet3DConditionModel>(config);
  const int64_t wanted =
      flops([&] { shapes.forward(input(spec, "sample"), timesteps, input(spec, "encoder_hidden_states")); });
  WeightStore store = test::formula_store(test::read_manifest(spec["tensors"]));
  const UNet3DConditionModel unet(config, store.root());
  const auto data = [&](const std::string& name) { return test::formula_tensor(name, spec[name].get<Shape>()); };
  EXPECT_EQ(flops([&] { unet.forward(data("sample"), timesteps, data("encoder_hidden_states")); }), wanted)
      << "of packed and of tiled convolutions and of attention over frames";
}

}  // namespace
}  // namespace t2v::engine
