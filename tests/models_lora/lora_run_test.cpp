// SPDX-License-Identifier: Apache-2.0
// Whole runs with LoRAs through the public API, against diffusers with PEFT's unmerged layers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/log.hpp"
#include "io/checkpoint.hpp"
#include "pipelines/whole_run.hpp"
#include "support/lora_files.hpp"

namespace t2v::test {
namespace {

using testing::HasSubstr;
using Loras = std::vector<std::pair<std::string, double>>;

// Merging instead of adding two products rounds differently; whole runs stay within the project's promise.
constexpr double kTolerance = 1e-4;

fs::path lora_folder() { return fs::path(T2V_TEST_DATA) / "golden/lora"; }

const io::Json& golden() {
  static const io::Json document = io::load_json(lora_folder() / "lora.json");
  return document;
}

std::vector<float> wanted_latents(const std::string& name) {
  const auto file = io::open_tensor_file(lora_folder() / "lora.safetensors");
  const auto& view = file->tensors().find(name)->second;
  const auto* values = reinterpret_cast<const float*>(view.bytes.data());
  return {values, values + view.bytes.size() / sizeof(float)};
}

class LoraRun : public testing::Test {
 protected:
  LoraRun() { write_tiny_checkpoint(model_, pipelines_golden(), golden()["run"]["scheduler"]); }

  LoadOptions options(const Loras& loras) const { return {.model = model_.string(), .loras = loras, .device = "cpu"}; }
  std::vector<float> latents(const Loras& loras) const {
    const auto model = open_model(options(loras));
    Progress progress;
    return model->load(progress)->denoise(model->plan(request_of(golden()["run"])), progress).data;
  }
  std::string write(const std::string& label, const Naming& naming, const std::string& name = "x.safetensors") const {
    write_lora(folder_ / name, golden()["loras"][label], label, naming);
    return (folder_ / name).string();
  }
  Error refusal(const Loras& loras) const {
    try {
      open_model(options(loras));
    } catch (const Error& error) {
      return error;
    }
    return Error(ErrorCode::internal, "not refused");
  }

  const TempFolder temporary_;
  const fs::path folder_ = temporary_.path();
  const fs::path model_ = folder_ / "model";
};

TEST_F(LoraRun, attention_lora_equals_diffusers_in_every_naming) {
  const auto wanted = wanted_latents("attention");
  for (const Naming& naming : {peft_naming(), diffusers_naming(), kohya_naming(), processor_naming()}) {
    SCOPED_TRACE(naming.down);
    EXPECT_LE(relative_l2(latents({{write("attention", naming), 0.8}}), wanted), kTolerance);
  }
}

TEST_F(LoraRun, convolutions_text_encoder_and_alpha_equal_diffusers) {
  const auto wanted = wanted_latents("whole");
  for (const Naming& naming : {peft_naming(), kohya_naming()}) {
    SCOPED_TRACE(naming.down);
    EXPECT_LE(relative_l2(latents({{write("whole", naming), 1.0}}), wanted), kTolerance);
  }
}

TEST_F(LoraRun, several_add_up_and_weights_may_be_negative) {
  const Loras both{{write("attention", peft_naming(), "a.safetensors"), 0.7},
                   {write("whole", kohya_naming(), "b.safetensors"), -0.4}};
  EXPECT_LE(relative_l2(latents(both), wanted_latents("two")), kTolerance);
}

TEST_F(LoraRun, a_file_saved_by_diffusers_brings_its_alpha_along) {
  const auto wanted = wanted_latents("saved");
  EXPECT_LE(relative_l2(latents({{(lora_folder() / "saved.safetensors").string(), 1.0}}), wanted), kTolerance);
  // As a folder, too: that is what save_lora_weights() is given.
  fs::create_directories(folder_ / "saved");
  fs::copy(lora_folder() / "saved.safetensors", folder_ / "saved/pytorch_lora_weights.safetensors");
  EXPECT_LE(relative_l2(latents({{(folder_ / "saved").string(), 1.0}}), wanted), kTolerance);
}

TEST_F(LoraRun, weight_zero_is_the_model_itself_bit_for_bit) {
  const auto plain = latents({});
  EXPECT_LE(relative_l2(plain, wanted_latents("plain")), kTolerance);
  EXPECT_EQ(latents({{write("whole", kohya_naming()), 0.0}}), plain);
}

TEST_F(LoraRun, the_model_says_what_matched) {
  const auto model = open_model(options({{write("whole", kohya_naming()), 0.5}}));
  ASSERT_EQ(model->info().loras.size(), 1U);
  const LoraInfo& info = model->info().loras.front();
  EXPECT_EQ(info.name, "x.safetensors");
  EXPECT_EQ(info.weight, 0.5);
  EXPECT_EQ(info.naming, "kohya (A1111)");
  EXPECT_EQ(info.ranks, std::vector<int64_t>{3});
  EXPECT_EQ(info.matched, static_cast<int64_t>(3 * golden()["loras"]["whole"]["modules"].size()));
  EXPECT_EQ(info.matched, info.tensors);
  EXPECT_EQ(info.content_hash, io::file_hash(folder_ / "x.safetensors"));
}

TEST_F(LoraRun, a_lora_that_matches_in_part_names_what_it_left) {
  TensorWriter writer;
  const auto pair = [&](const std::string& name) {
    writer.add_formula(name + ".lora_down.weight", {2, 32}, "down");
    writer.add_formula(name + ".lora_up.weight", {32, 2}, "up");
  };
  pair("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q");
  pair("lora_unet_down_blocks_7_attentions_0_transformer_blocks_0_attn1_to_q");
  writer.add("something_else", {1}, {1});
  writer.write(folder_ / "x.safetensors");
  testing::internal::CaptureStderr();
  log::setup(0, false);  // as the program does: to standard error
  const auto model = open_model(options({{(folder_ / "x.safetensors").string(), 1.0}}));
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("lora x.safetensors: matched 2 of 5 tensors, weight 1"));
  EXPECT_THAT(said, HasSubstr("not used: something_else, lora_unet_down_blocks_7_attentions_0_transformer_blocks_0_"
                              "attn1_to_q.lora_down.weight, "));
}

TEST_F(LoraRun, a_lora_that_matches_nothing_is_refused_with_what_it_is) {
  TensorWriter writer;
  writer.add_formula("unet.down_blocks.0.motion_modules.0.transformer_blocks.0.attn1.to_q.lora_A.weight", {2, 32}, "a");
  writer.add_formula("unet.down_blocks.0.motion_modules.0.transformer_blocks.0.attn1.to_q.lora_B.weight", {32, 2}, "b");
  writer.write(folder_ / "pan-left.safetensors");
  const Error error = refusal({{(folder_ / "pan-left.safetensors").string(), 1.0}});
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_THAT(error.what(),
              HasSubstr("pan-left.safetensors: wanted tensors for TextToVideoSDPipeline, matched 0 of 2"));
  EXPECT_THAT(error.hint(), HasSubstr("modules of unet (1) in the names of PEFT"));
  EXPECT_THAT(error.hint(), HasSubstr("AnimateDiff motion modules"));
}

TEST_F(LoraRun, a_lora_for_a_wider_text_is_refused_naming_both_shapes) {
  TensorWriter writer;
  const std::string name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k";
  writer.add_formula(name + ".lora_down.weight", {4, 768}, "a");
  writer.add_formula(name + ".lora_up.weight", {32, 4}, "b");
  writer.write(folder_ / "sd15.safetensors");
  const Error error = refusal({{(folder_ / "sd15.safetensors").string(), 1.0}});
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_THAT(error.what(), HasSubstr("sd15.safetensors: " + name));
  EXPECT_THAT(error.what(), HasSubstr("down: wanted [4, 32], got [4, 768]"));
  EXPECT_THAT(error.hint(), HasSubstr("Stable Diffusion 1.x (text of width 768)"));
}

}  // namespace
}  // namespace t2v::test
