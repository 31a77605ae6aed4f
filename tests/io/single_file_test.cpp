// SPDX-License-Identifier: Apache-2.0
// Original tensor names against diffusers' single-file loaders, and what is said of files that are no whole model.
#include <cstdlib>

#include "io/ldm_names.hpp"
#include "io/motion_module.hpp"
#include "io/single_file.hpp"
#include "io_support.hpp"
#include "support/formula_weights.hpp"

namespace t2v::test {
namespace {

const io::Json& names() {
  static const io::Json json = io::load_json(std::filesystem::path(T2V_TEST_DATA) / "golden/single_file/names.json");
  return json;
}

TEST(LdmNames, of_every_tensor_are_those_of_diffusers) {
  for (const char* model : {"published", "small"}) {
    const auto layers = names()[model]["layers_per_block"].get<int64_t>();
    for (const auto& [wanted, original] : names()[model]["unet"].items())
      EXPECT_EQ(io::ldm_unet_name(original.get<std::string>(), layers), wanted);
    for (const auto& [wanted, original] : names()[model]["vae"].items())
      EXPECT_EQ(io::ldm_vae_name(original.get<std::string>(), 4), wanted);
  }
  EXPECT_EQ(names()["published"]["unet"].size(), 686u);  // as many as the published file of Stable Diffusion 1.5 has
}

TEST(LdmNames, of_openclip_part_the_fused_projections) {
  for (const auto& [wanted, original] : names()["open_clip"].items()) {
    const bool is_part = original.is_array();
    const auto shown = io::openclip_text_names((is_part ? original[0] : original).get<std::string>());
    ASSERT_EQ(shown.size(), is_part ? 3u : 1u) << wanted;
    const auto& one = shown[is_part ? original[1].get<size_t>() : 0];
    EXPECT_EQ(one.name, wanted);
    EXPECT_EQ(one.index, is_part ? original[1].get<int64_t>() : 0);
  }
}

TEST(LdmNames, that_nobody_knows_come_back_as_they_were) {
  for (const std::string name :
       {"", "x", "input_blocks", "input_blocks.", "input_blocks.1", "input_blocks.99999999999999999999.0.x",
        "input_blocks.-1.0.x", "input_blocks.1x.0.y", "middle_block.", "output_blocks.0", "out.7.weight"}) {
    EXPECT_EQ(io::ldm_unet_name(name, 2), name);
  }
  for (const std::string name : {"encoder.down.9.block.0.norm1.weight", "decoder.up.", "encoder.mid.block_0.x"})
    EXPECT_EQ(io::ldm_vae_name(name, 4), name);
}

TEST(MotionModuleNames, are_those_of_diffusers) {
  for (const auto& [wanted, original] : names()["motion_module"].items()) {
    EXPECT_EQ(io::motion_module_name(original.get<std::string>()), wanted);
    EXPECT_EQ(io::motion_module_name("module." + original.get<std::string>()), wanted);
    EXPECT_EQ(io::motion_module_name(wanted), wanted);
  }
  EXPECT_EQ(io::motion_module_name("conv_in.weight"), "");
}

/// A safetensors file of the given names and shapes, fp32 zeros.
std::string file_of(const std::vector<std::pair<std::string, std::vector<int64_t>>>& tensors) {
  io::Json header = io::Json::object();
  size_t at = 0;
  for (const auto& [name, shape] : tensors) {
    size_t bytes = 4;
    for (const int64_t size : shape) bytes *= static_cast<size_t>(size);
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  return safetensors_bytes(header.dump(), std::string(at, '\0'));
}

/// The least that is a UNet of one level and one layer.
std::vector<std::pair<std::string, std::vector<int64_t>>> least_unet() {
  const std::string root = "model.diffusion_model.";
  return {{root + "input_blocks.0.0.weight", {32, 4, 3, 3}},
          {root + "input_blocks.1.0.out_layers.3.weight", {32, 32, 3, 3}},
          {root + "input_blocks.1.1.transformer_blocks.0.norm1.weight", {32}},
          {root + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", {32, 24}},
          {root + "middle_block.1.proj_in.weight", {32, 32}},
          {root + "output_blocks.1.1.transformer_blocks.0.norm1.bias", {2}},
          {root + "out.2.weight", {4, 32, 3, 3}}};
}

TEST(SingleFile, configs_follow_from_shapes) {
  const TempFolder folder;
  const auto file = folder.write("m.safetensors", file_of(least_unet()));
  ASSERT_TRUE(io::is_single_file_checkpoint(file));
  const auto checkpoint = io::Checkpoint::open(file);
  EXPECT_EQ(checkpoint.pipeline_class(), "StableDiffusionPipeline");
  const auto unet = checkpoint.component("unet").config();
  EXPECT_EQ(unet.get_int_list("block_out_channels"), (std::vector<int64_t>{32}));
  EXPECT_EQ(unet.get_int("layers_per_block"), 1);
  EXPECT_EQ(unet.get_int("cross_attention_dim"), 24);
  EXPECT_TRUE(unet.get_bool("use_linear_projection"));
  EXPECT_TRUE(checkpoint.component("unet").weights()->tensors().contains("conv_in.weight"));
  EXPECT_EQ(checkpoint.component("scheduler").config().get_string("prediction_type"), "epsilon");
  expect_bad([&] { checkpoint.component("vae"); }, "wanted a component 'vae'");
}

TEST(SingleFile, of_stable_diffusion_2_tells_v_prediction_by_a_bias) {
  const TempFolder folder;
  std::string bytes = file_of(least_unet());
  const float values[] = {1.0F, -1.0F};  // of the tensor before the last: standard deviation 1
  const size_t last = 4 * 32 * 3 * 3 * sizeof(float);
  std::memcpy(bytes.data() + bytes.size() - last - sizeof values, values, sizeof values);
  const auto checkpoint = io::Checkpoint::open(folder.write("m.safetensors", bytes));
  EXPECT_EQ(checkpoint.component("scheduler").config().get_string("prediction_type"), "v_prediction");
  EXPECT_EQ(checkpoint.component("scheduler").class_name, "DDIMScheduler");
}

TEST(SingleFile, that_is_something_else_is_named) {
  const TempFolder folder;
  const auto refuse = [&](const std::string& tensor, const std::string& part, ErrorCode code = ErrorCode::bad_input) {
    const auto file = folder.write("m.safetensors", file_of({{tensor, {1}}}));
    EXPECT_FALSE(io::is_single_file_checkpoint(file));
    expect_bad([&] { io::Checkpoint::open(file); }, part, code);
  };
  refuse("down_blocks.0.motion_modules.0.norm.weight", "got a motion module");
  refuse("lora_unet_down_blocks_0.lora_up.weight", "got a LoRA");
  refuse("conditioner.embedders.1.model.x", "Stable Diffusion XL", ErrorCode::unsupported);
  refuse("encoder.conv_in.weight", "got an autoencoder");
  refuse("some.thing", "got tensors like 'some.thing'");
}

TEST(SingleFile, with_a_broken_structure_is_refused) {
  const TempFolder folder;
  for (const auto& [drop, part] : {std::pair{2, "wanted"}, {4, "wanted"}, {1, "wanted"}}) {
    auto tensors = least_unet();
    tensors.erase(tensors.begin() + drop);
    const auto file = folder.write("m.safetensors", file_of(tensors));
    try {
      io::Checkpoint::open(file);  // what is left may still have a structure; its network then misses the tensor
    } catch (const Error& error) {
      EXPECT_THAT(std::string(error.what()), testing::HasSubstr(part));
    }
  }
  auto flat = least_unet();
  flat[0].second = {32};
  expect_bad([&] { io::Checkpoint::open(folder.write("m.safetensors", file_of(flat))); }, "input_blocks.0.0.weight");
}

TEST(SingleFile, is_found_by_its_name_with_and_without_extension) {
  const TempFolder folder;
  const auto file = folder.write("some-model.safetensors", file_of(least_unet()));
  folder.write("no-model.safetensors", file_of({{"x", {1}}}));
  setenv("T2V_MODELS", folder.path().c_str(), 1);
  EXPECT_EQ(io::resolve_model("some-model"), file);
  EXPECT_EQ(io::resolve_model("some-model.safetensors"), file);
  const auto models = io::find_models();
  EXPECT_NE(std::find(models.begin(), models.end(), file), models.end());
  EXPECT_EQ(std::find(models.begin(), models.end(), folder / "no-model.safetensors"), models.end());
  unsetenv("T2V_MODELS");
}

/// Header and size of a file whose data nobody reads; halves, as published.
std::filesystem::path sparse_file(const TempFolder& folder, const std::string& name,
                                  const std::vector<std::pair<std::string, std::vector<int64_t>>>& tensors) {
  io::Json header = io::Json::object();
  size_t at = 0;
  for (const auto& [tensor, shape] : tensors) {
    size_t bytes = 2;
    for (const int64_t size : shape) bytes *= static_cast<size_t>(size);
    header[tensor] = {{"dtype", "F16"}, {"shape", shape}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  const auto file = folder.write(name, safetensors_bytes(header.dump(), {}));
  std::filesystem::resize_file(file, std::filesystem::file_size(file) + at);
  return file;
}

TEST(SingleFile, of_stable_video_diffusion_is_told_and_named_as_published) {
  const io::Json& published = names()["svd"]["published_unet"];
  std::map<std::string, std::vector<int64_t>> wanted;
  for (const auto& [name, shape] : read_manifest(published["tensors"])) wanted[name] = shape;
  std::vector<std::pair<std::string, std::vector<int64_t>>> stored;
  for (const auto& [name, original] : published["names"].items()) stored.emplace_back(original, wanted.at(name));
  // Of the other parts, what tells their sizes.
  const std::string tower = "conditioner.embedders.0.open_clip.model.visual.";
  const std::string encoder = "conditioner.embedders.3.encoder.encoder.";
  stored.insert(stored.end(), {{tower + "conv1.weight", {1280, 3, 14, 14}},
                               {tower + "positional_embedding", {257, 1280}},
                               {tower + "proj", {1280, 1024}},
                               {tower + "transformer.resblocks.0.mlp.c_fc.weight", {5120, 1280}},
                               {encoder + "conv_in.weight", {128, 3, 3, 3}},
                               {"first_stage_model.decoder.conv_in.weight", {512, 4, 3, 3}},
                               {"first_stage_model.decoder.conv_out.weight", {3, 128, 3, 3}}});
  for (int i = 0; i < 32; ++i)
    stored.push_back({tower + "transformer.resblocks." + std::to_string(i) + ".ln_1.weight", {1280}});
  for (int level = 0; level < 4; ++level) {
    for (int layer = 0; layer < 2; ++layer) {
      const std::string block = encoder + "down." + std::to_string(level) + ".block." + std::to_string(layer);
      stored.push_back({block + ".norm1.weight", {128}});
      stored.push_back({block + ".conv1.weight", {level == 0 ? 128 : level == 1 ? 256 : 512, 128, 3, 3}});
    }
  }
  const TempFolder folder;
  const auto file = sparse_file(folder, "svd_xt.safetensors", stored);
  ASSERT_TRUE(io::is_single_file_checkpoint(file));
  const auto checkpoint = io::Checkpoint::open(file);
  EXPECT_EQ(checkpoint.pipeline_class(), "StableVideoDiffusionPipeline");

  std::map<std::string, std::vector<int64_t>> shown;
  int64_t parameters = 0;
  const auto unet_weights = checkpoint.component("unet").weights();
  for (const auto& [name, view] : unet_weights->tensors()) {
    shown[name] = view.shape;
    parameters += static_cast<int64_t>(view.bytes.size()) / 2;
  }
  EXPECT_EQ(shown, wanted);
  EXPECT_EQ(parameters, 1'524'623'082);  // UNetSpatioTemporalConditionModel of stable-video-diffusion-img2vid-xt

  const auto expect_config = [&](const std::string& component, const std::string& model_file) {
    const auto real = io::load_json(std::filesystem::path(T2V_TEST_DATA) /
                                    "data/configs/stable-video-diffusion-img2vid-xt" / model_file);
    const io::Json derived = checkpoint.component(component).config().json();
    for (const auto& [key, value] : derived.items()) {
      if (key == "_class_name" || key == "architectures") continue;
      if (!real.contains(key)) continue;  // of networks that have more kinds of blocks
      const io::Json one_for_all = real[key];
      // A number stands for a list of equal ones.
      const bool is_list = value.is_array() && one_for_all.is_number();
      for (const io::Json& item : is_list ? value : io::Json::array({value})) EXPECT_EQ(item, one_for_all) << key;
    }
  };
  expect_config("unet", "unet.json");
  expect_config("image_encoder", "image_encoder.json");
  expect_config("vae", "vae.json");
  expect_config("scheduler", "scheduler.json");
}

TEST(MotionModuleFile, config_follows_from_names_and_shapes) {
  const TempFolder folder;
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (const char* block : {"down_blocks.0", "down_blocks.1", "mid_block"}) {
    const std::string module = std::string("module.") + block + ".motion_modules.0.temporal_transformer.";
    tensors.push_back({module + "norm.weight", {block[0] == 'd' && block[12] == '0' ? 32 : 64}});
    tensors.push_back({module + "transformer_blocks.0.norms.0.weight", {32}});
    tensors.push_back({module + "transformer_blocks.0.attention_blocks.0.pos_encoder.pe", {1, 24, 32}});
  }
  const auto file = io::open_tensor_file(folder.write("mm.safetensors", file_of(tensors)));
  ASSERT_TRUE(io::is_motion_module(*file));
  const auto part = io::motion_module_component(file);
  EXPECT_EQ(part.class_name, "MotionAdapter");
  EXPECT_EQ(part.config().get_int_list("block_out_channels"), (std::vector<int64_t>{32, 64}));
  EXPECT_EQ(part.config().get_int("motion_max_seq_length"), 24);
  EXPECT_TRUE(part.config().get_bool("use_motion_mid_block"));
  EXPECT_FALSE(part.weights()->tensors().begin()->first.starts_with("module."));
}

}  // namespace
}  // namespace t2v::test
