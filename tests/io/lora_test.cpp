// SPDX-License-Identifier: Apache-2.0
// LoRA files as trainers write them, and as nobody should.
#include <map>

#include "io/config.hpp"
#include "io/lora.hpp"
#include "io_support.hpp"

namespace t2v::test {
namespace {

using io::LoraFile;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

/// Tensors of F32 ones, by name.
using Tensors = std::vector<std::pair<std::string, std::vector<int64_t>>>;

std::string lora_bytes(const Tensors& tensors, const std::string& metadata = {}, const std::string& dtype = "F32") {
  std::string header = "{", data;
  if (!metadata.empty()) header += "\"__metadata__\":" + metadata + ",";
  const size_t element = dtype == "F32" || dtype == "I32" ? 4 : 2;
  for (const auto& [name, shape] : tensors) {
    size_t count = 1;
    std::string sizes;
    for (const int64_t size : shape) {
      count *= static_cast<size_t>(size);
      sizes += (sizes.empty() ? "" : ",") + std::to_string(size);
    }
    header += "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + sizes + "],\"data_offsets\":[" +
              std::to_string(data.size()) + "," + std::to_string(data.size() + count * element) + "]},";
    for (size_t i = 0; i < count; ++i) data += element == 4 ? raw(1.0F) : std::string("\x00\x3c", 2);
  }
  header.back() = '}';
  return safetensors_bytes(header, data);
}

class LoraFiles : public testing::Test {
 protected:
  LoraFile open(const Tensors& tensors, const std::string& metadata = {}) const {
    return LoraFile::open(folder_.write("l.safetensors", lora_bytes(tensors, metadata)));
  }
  /// The one module of a pair of names.
  io::LoraModule module_of(const std::string& down, const std::string& up) const {
    const LoraFile lora = open({{down, {2, 8}}, {up, {8, 2}}});
    EXPECT_EQ(lora.modules().size(), 1U) << down;
    return lora.modules().empty() ? io::LoraModule{} : lora.modules().front();
  }
  void expect_error(const Tensors& tensors, ErrorCode code, const std::string& part,
                    const std::string& metadata = {}) const {
    try {
      open(tensors, metadata);
      FAIL() << "not refused: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(part));
      EXPECT_THAT(error.what(), HasSubstr("l.safetensors"));
    }
  }
  TempFolder folder_;
};

TEST_F(LoraFiles, every_trainers_name_of_an_attention_weight_is_one_module) {
  const std::string block = "down_blocks.0.attentions.1.transformer_blocks.0.attn1.";
  const std::string flat = "down_blocks_0_attentions_1_transformer_blocks_0_attn1_";
  const std::vector<std::pair<std::string, std::string>> names{
      {"unet." + block + "to_out.0.lora_A.weight", "unet." + block + "to_out.0.lora_B.weight"},
      {"unet." + block + "to_out.0.lora_A.default.weight", "unet." + block + "to_out.0.lora_B.default.weight"},
      {"base_model.model." + block + "to_out.0.lora_A.weight", "base_model.model." + block + "to_out.0.lora_B.weight"},
      {"base_model.model.unet." + block + "to_out.0.lora_A.weight",
       "base_model.model.unet." + block + "to_out.0.lora_B.weight"},
      {"unet." + block + "to_out.0.lora.down.weight", "unet." + block + "to_out.0.lora.up.weight"},
      {"unet." + block + "processor.to_out_lora.down.weight", "unet." + block + "processor.to_out_lora.up.weight"},
      {block + "processor.to_out_lora.down.weight", block + "processor.to_out_lora.up.weight"},
      {"lora_unet_" + flat + "to_out_0.lora_down.weight", "lora_unet_" + flat + "to_out_0.lora_up.weight"},
      {"diffusion_model." + block + "to_out.0.lora_down.weight",
       "diffusion_model." + block + "to_out.0.lora_up.weight"},
  };
  for (const auto& [down, up] : names) {
    const auto module = module_of(down, up);
    EXPECT_EQ(module.component, "unet") << down;
    EXPECT_EQ(module.key, flat + "to_out_0") << down;
    EXPECT_EQ(module.rank, 2) << down;
    EXPECT_EQ(module.scale, 1) << down;
  }
}

TEST_F(LoraFiles, motion_lora_in_its_first_and_its_converted_form_is_one_module) {
  const std::string key = "up_blocks_3_motion_modules_2_transformer_blocks_0_attn2_to_q";
  const std::string first =
      "module.up_blocks.3.motion_modules.2.temporal_transformer.transformer_blocks.0.attention_blocks.1.processor.to_q_"
      "lora.";
  const std::string converted = "unet.up_blocks.3.motion_modules.2.transformer_blocks.0.attn2.to_q.lora.";
  EXPECT_EQ(module_of(first + "down.weight", first + "up.weight").key, key);
  EXPECT_EQ(module_of(converted + "down.weight", converted + "up.weight").key, key);
  EXPECT_TRUE(open({{first + "down.weight", {2, 8}}, {first + "up.weight", {8, 2}}}).is_motion_only());
}

TEST_F(LoraFiles, every_trainers_name_of_a_text_encoder_weight_is_one_module) {
  const std::string layer = "encoder.layers.3.self_attn.";
  const std::vector<std::pair<std::string, std::string>> names{
      {"text_encoder.text_model." + layer + "q_proj.lora_A.weight",
       "text_encoder.text_model." + layer + "q_proj.lora_B.weight"},
      {"text_encoder." + layer + "q_proj.lora_A.weight", "text_encoder." + layer + "q_proj.lora_B.weight"},
      {"text_encoder.text_model." + layer + "q_proj.lora_linear_layer.down.weight",
       "text_encoder.text_model." + layer + "q_proj.lora_linear_layer.up.weight"},
      {"text_encoder.text_model." + layer + "to_q_lora.down.weight",
       "text_encoder.text_model." + layer + "to_q_lora.up.weight"},
      {"lora_te_text_model_encoder_layers_3_self_attn_q_proj.lora_down.weight",
       "lora_te_text_model_encoder_layers_3_self_attn_q_proj.lora_up.weight"},
  };
  for (const auto& [down, up] : names) {
    const auto module = module_of(down, up);
    EXPECT_EQ(module.component, "text_encoder") << down;
    EXPECT_EQ(module.key, "encoder_layers_3_self_attn_q_proj") << down;
  }
}

TEST_F(LoraFiles, alpha_over_rank_is_the_scale_wherever_alpha_stands) {
  const Tensors pair{{"unet.a.to_q.lora_A.weight", {4, 8}}, {"unet.a.to_q.lora_B.weight", {8, 4}}};
  Tensors with_tensor = pair;
  with_tensor.emplace_back("unet.a.to_q.alpha", std::vector<int64_t>{});
  EXPECT_EQ(open(with_tensor).modules().front().scale, 0.25);
  EXPECT_EQ(
      open(pair, R"({"lora_adapter_metadata":"{\"unet.lora_alpha\": 8, \"unet.r\": 4}"})").modules().front().scale, 2);
  EXPECT_EQ(open(pair, R"({"lora_adapter_metadata":"{\"unet.lora_alpha\": 8, \"unet.alpha_pattern\": {\"to_q\": 2}}"})")
                .modules()
                .front()
                .scale,
            0.5);
  EXPECT_EQ(open(pair, R"({"lora_adapter_metadata":"{\"unet.lora_alpha\": 8, \"unet.use_rslora\": true}"})")
                .modules()
                .front()
                .scale,
            4);
  folder_.write("peft/adapter_model.safetensors", lora_bytes(pair));
  folder_.write("peft/adapter_config.json", R"({"peft_type": "LORA", "r": 4, "lora_alpha": 12})");
  EXPECT_EQ(LoraFile::open(folder_ / "peft").modules().front().scale, 3);
}

TEST_F(LoraFiles, a_file_saved_by_diffusers_is_read_whole) {
  const LoraFile lora = LoraFile::open(std::filesystem::path(T2V_TEST_DATA) / "golden/lora/saved.safetensors");
  EXPECT_EQ(lora.modules().size(), 18U);
  EXPECT_EQ(lora.tensor_count(), 36U);
  EXPECT_THAT(lora.strangers(), IsEmpty());
  EXPECT_EQ(lora.naming(), "PEFT");
  EXPECT_THAT(lora.ranks(), ElementsAre(2));
  for (const auto& module : lora.modules()) EXPECT_EQ(module.scale, 2.5) << module.stored;
}

TEST_F(LoraFiles, what_is_no_lora_is_told_apart) {
  const LoraFile lora = open({{"lora_unet_x.lora_down.weight", {2, 8}},
                              {"lora_unet_x.lora_up.weight", {8, 2}},
                              {"lora_unet_y.alpha", {}},
                              {"emb_params", {3}},
                              {"unet.x.weight", {8, 8}}});
  EXPECT_THAT(lora.strangers(), UnorderedElementsAre("emb_params", "unet.x.weight", "lora_unet_y.alpha"));
  EXPECT_EQ(lora.tensor_count(), 5U);
  EXPECT_THAT(lora.modules_by_component(), ElementsAre(Pair("unet", 1)));
}

TEST_F(LoraFiles, the_base_is_told_by_metadata_or_by_the_width_of_the_text) {
  const auto hint = [&](int64_t width, const std::string& metadata) {
    return open({{"lora_unet_a_attn2_to_k.lora_down.weight", {2, width}},
                 {"lora_unet_a_attn2_to_k.lora_up.weight", {8, 2}}},
                metadata)
        .base_hint();
  };
  EXPECT_EQ(hint(768, ""), "Stable Diffusion 1.x (text of width 768)");
  EXPECT_EQ(hint(1024, ""), "Stable Diffusion 2.x or ModelScope (text of width 1024)");
  EXPECT_EQ(hint(768, R"({"ss_base_model_version":"sd_v1"})"), "sd_v1");
}

TEST_F(LoraFiles, adapters_that_are_no_plain_lora_are_refused_by_name) {
  const Tensors pair{{"lora_unet_x.lora_down.weight", {2, 8}}, {"lora_unet_x.lora_up.weight", {8, 2}}};
  const std::vector<std::pair<std::string, std::string>> kinds{{"lora_unet_x.dora_scale", "DoRA"},
                                                               {"unet.x.lora_magnitude_vector", "DoRA"},
                                                               {"lora_unet_x.hada_w1_a", "LoHa"},
                                                               {"lora_unet_x.lokr_w1", "LoKr"},
                                                               {"lora_unet_x.oft_blocks", "OFT"}};
  for (const auto& [name, kind] : kinds) {
    Tensors tensors = pair;
    tensors.emplace_back(name, std::vector<int64_t>{8, 1});
    expect_error(tensors, ErrorCode::unsupported, "wanted a plain LoRA, got " + kind);
  }
  expect_error(pair, ErrorCode::unsupported, "got DoRA", R"({"lora_adapter_metadata":"{\"unet.use_dora\": true}"})");
}

TEST_F(LoraFiles, damaged_files_are_refused) {
  expect_error({{"lora_unet_x.lora_down.weight", {2, 8}}}, ErrorCode::bad_input, "wanted both halves of a pair");
  expect_error({{"lora_unet_x.lora_down.weight", {8}}, {"lora_unet_x.lora_up.weight", {8, 2}}}, ErrorCode::bad_input,
               "wanted matrices [rank, in] and [out, rank], got [8] and [8, 2]");
  expect_error({{"lora_unet_x.lora_down.weight", {0, 8}}, {"lora_unet_x.lora_up.weight", {8, 0}}}, ErrorCode::bad_input,
               "wanted matrices");
  expect_error(
      {{"lora_unet_x.lora_down.weight", {2, 8}}, {"lora_unet_x.lora_up.weight", {8, 2}}, {"lora_unet_x.alpha", {3}}},
      ErrorCode::bad_input, "wanted one finite number, got a tensor [3]");
  expect_error({{"lora_unet_x.lora_down.weight", {2, 8}},
                {"lora_unet_x.lora_up.weight", {8, 2}},
                {"unet.x.lora_A.weight", {2, 8}}},
               ErrorCode::bad_input, "are two names of one tensor");
  const auto file = folder_.write(
      "l.safetensors", lora_bytes({{"unet.x.lora_A.weight", {2, 8}}, {"unet.x.lora_B.weight", {8, 2}}}, {}, "I32"));
  expect_bad([&] { LoraFile::open(file); }, "wanted floating-point numbers, got I32");
  expect_bad([&] { LoraFile::open(folder_ / "."); }, "wanted a LoRA file or a folder with pytorch_lora_weights");
}

TEST(LdmKeys, of_every_module_of_stable_diffusion_are_diffusers) {
  const auto names = io::load_json(std::filesystem::path(T2V_TEST_DATA) / "golden/single_file/names.json");
  const auto key_of = [](const std::string& tensor) { return io::module_key(tensor.substr(0, tensor.rfind('.'))); };
  for (const char* model : {"published", "small"}) {
    const auto layers = names[model]["layers_per_block"].get<int64_t>();
    for (const auto& [ours, original] : names[model]["unet"].items()) {
      EXPECT_EQ(io::key_of_ldm(key_of(original.get<std::string>()), layers), key_of(ours));
      EXPECT_EQ(io::key_of_ldm(key_of(ours), layers), key_of(ours));
    }
  }
}

TEST(LdmKeys, that_nobody_knows_come_back_as_they_were) {
  for (const std::string key : {"", "out", "out_", "out_99999", "input_blocks", "input_blocks_", "input_blocks_1",
                                "input_blocks__1_0_x", "input_blocks_99999999999999999999_0_x",
                                "input_blocks_-1_0_conv", "output_blocks_0", "time_embed", "conv_in"}) {
    EXPECT_EQ(io::key_of_ldm(key, 2), key);
  }
  EXPECT_EQ(io::key_of_ldm("input_blocks_1_0_in_layers_2", 0), "input_blocks_1_0_in_layers_2");
}

TEST(Lora, Row17_more_tensors_than_any_network_has_are_refused_before_they_are_read) {
  const TempFolder folder;
  std::string header = "{";
  for (int i = 0; i <= 20'000; ++i) {
    header += "\"lora_unet_";
    header += std::to_string(i) + R"(.alpha":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)";
  }
  header.back() = '}';
  const auto file = folder.write("x.safetensors", safetensors_bytes(header, ""));
  expect_bad([&] { LoraFile::open(file); }, "wanted at most 20000 tensors, got 20001");
}

}  // namespace
}  // namespace t2v::test
