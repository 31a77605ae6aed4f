// SPDX-License-Identifier: Apache-2.0
// Stable Diffusion and AnimateDiff through the public API, in every form their files have. Seeds, samplers and options
// are the README's parity table (parity_test.cpp); here are the forms of files, defaults and refusals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/log.hpp"
#include "models/animatediff/recipe.hpp"
#include "pipelines/whole_run.hpp"
#include "t2v/error.hpp"

namespace t2v::test {
namespace {

using testing::HasSubstr;

constexpr const char* kGoldenFile = "stable_diffusion/stable_diffusion.safetensors";

const io::Json& golden_run(const std::string& name) { return sd_golden()["runs"][name]; }

void expect_parity(const LoadOptions& options, const std::string& name) {
  const WholeRunResult result = run_and_compare(options, request_of(golden_run(name)), kGoldenFile, name);
  EXPECT_LE(result.latents_error, 1e-4);  // the project's promise for whole fp32 runs
  EXPECT_LE(result.frames_error.value_or(0), 1);
}

Error error_opening(const LoadOptions& options) {
  return error_of([&] { open_model(options); });
}

LoadOptions options_for(const fs::path& model, const fs::path& motion_module = {}) {
  return {.model = model.string(), .motion_module = motion_module, .device = "cpu"};
}

TEST(StableDiffusionFile, of_version_1_equals_the_folder) {
  const TempFolder folder;
  sd_single_file("sd1").write(folder.path() / "model.safetensors");
  expect_parity(options_for(folder.path() / "model.safetensors"), "sd1");
}

TEST(StableDiffusionFile, of_version_2_predicts_v_where_the_config_beside_it_says_so) {
  const TempFolder folder;
  sd_single_file("sd2").write(folder.path() / "v2.safetensors");
  write_text(folder.path() / "v2.yaml", "model:\n  params:\n    parameterization: \"v\"\n");
  expect_parity(options_for(folder.path() / "v2.safetensors"), "sd2_v");
}

TEST(StableDiffusionFile, without_an_autoencoder_asks_for_one_and_takes_it) {
  const TempFolder folder;
  TensorList list;
  const io::Json& names = original_names();
  add_in_original_names(list, sd_manifest("sd1", "unet"), names["small"]["unet"], "model.diffusion_model.");
  for (const auto& [full, shape] : sd_manifest("sd1", "text_encoder")) {
    list.add("cond_stage_model.transformer." + full, shape, formula_weight(full, shape));  // without text_model. too
  }
  list.write(folder.path() / "model.safetensors");
  LoadOptions options = options_for(folder.path() / "model.safetensors");
  const Error error = error_opening(options);
  EXPECT_THAT(error.what(), HasSubstr("wanted a component 'vae'"));
  EXPECT_THAT(error.hint(), HasSubstr("--vae"));
  TensorList vae;
  add_in_original_names(vae, sd_manifest("sd1", "vae"), names["small"]["vae"], "");
  vae.write(folder.path() / "vae.safetensors");
  options.vae = folder.path() / "vae.safetensors";
  expect_parity(options, "sd1");
}

TEST(StableDiffusionFile, a_tensor_that_its_network_lacks_is_named) {
  const TempFolder folder;
  TensorList list = sd_single_file("sd1");
  list.add("model.diffusion_model.input_blocks.1.0.in_layers.7.weight", {1}, {1});
  list.write(folder.path() / "model.safetensors");
  EXPECT_THAT(error_opening(options_for(folder.path() / "model.safetensors")).what(),
              HasSubstr("down_blocks.0.resnets.0.in_layers.7.weight"));
}

TEST(StableDiffusion, makes_one_picture) {
  const TempFolder folder;
  write_sd_folder(folder.path(), "sd1", golden_run("sd1")["scheduler"]);
  const auto model = open_model(options_for(folder.path()));
  EXPECT_EQ(model->info().family, "stable_diffusion");
  EXPECT_EQ(model->info().frames, 1);
  EXPECT_EQ(model->info().cfg_scale, 7.5);
  const Plan plan = model->plan({.prompt = "x"});
  EXPECT_EQ(plan.sampler_class, "PNDMScheduler");
  EXPECT_EQ(plan.latent_shape, (std::vector<int64_t>{1, 4, 8, 8}));
  EXPECT_GT(plan.memory.denoise_peak, 0);
  const Error error = error_of([&] { model->plan({.prompt = "x", .frames = 16}); });
  EXPECT_EQ(error.code(), ErrorCode::usage);
  EXPECT_THAT(error.hint(), HasSubstr("--motion-module"));
}

/// The warnings of planning these prompts, the second of them from frame 1 on.
std::string warnings_of(const Model& model, const std::string& prompt, const std::string& later) {
  testing::internal::CaptureStderr();
  log::setup(0, false);
  Request request{.prompt = prompt};
  if (!later.empty()) request.prompt_at = {{1, later}};
  model.plan(request);
  return testing::internal::GetCapturedStderr();
}

TEST(AnimateDiff, says_which_words_a_model_of_a_small_world_does_not_know) {
  const TempFolder folder;
  write_sd_folder(folder.path() / "model", "sd1", golden_run("animate_v2")["scheduler"]);
  write_adapter_folder(folder.path() / "v2", "v2");
  const fs::path index = folder.path() / "model" / "model_index.json";
  io::Json json = io::load_json(index);
  json["t2v"] = {{"known_words", "red circle"}, {"ignored_words", "a"}, {"vocabulary_note", "one red circle"}};
  write_text(index, json.dump());
  const auto model = open_model(options_for(folder.path() / "model", folder.path() / "v2"));
  EXPECT_EQ(warnings_of(*model, "a red circle", ""), "");
  EXPECT_THAT(warnings_of(*model, "a red corgi", ""), HasSubstr("it knows one red circle"));
  EXPECT_THAT(warnings_of(*model, "a red circle", "a blue circle"), HasSubstr("blue"));
}

void expect_lora_parity(const std::string& run, const std::function<Naming(const std::string&)>& naming) {
  const WholeRunResult result = run_sd(run, naming);
  EXPECT_LE(result.latents_error, 1e-4) << run;
  EXPECT_LE(result.frames_error.value_or(0), 1) << run;
}

/// The module's name in Stable Diffusion's first code, as A1111 and many trainers have it.
std::string ldm_module(const std::string& component, const std::string& module) {
  if (component != "unet") return "lora_te_text_model_" + with_underscores(module);
  const auto weight = original_names()["small"]["unet"].at(module + ".weight").get<std::string>();
  return "lora_unet_" + with_underscores(weight.substr(0, weight.size() - std::string(".weight").size()));
}

/// The module's name in AnimateDiff's first code: MotionLoRAs as they were published (v2_lora_PanLeft.ckpt).
std::string first_motion_module(const std::string&, const std::string& module) {
  const auto weight = original_names()["motion_module"].at(module + ".weight").get<std::string>();
  std::string name = weight.substr(0, weight.size() - std::string(".weight").size());
  if (name.ends_with(".to_out.0")) name.resize(name.size() - 2);
  return name.insert(name.rfind('.'), ".processor");
}

TEST(StableDiffusionLora, in_any_trainers_naming_equals_what_diffusers_loads) {
  for (const Naming& naming :
       {peft_naming(), diffusers_naming(), Naming{ldm_module, ".lora_down.weight", ".lora_up.weight", ".alpha"}}) {
    SCOPED_TRACE(naming.module("unet", "mid_block.attentions.0.proj_in"));
    expect_lora_parity("sd1_lora", [&](const std::string&) { return naming; });
    expect_lora_parity("animate_lcm_lora", [&](const std::string&) { return naming; });
  }
}

TEST(MotionLora, as_published_and_as_converted_equals_what_diffusers_loads) {
  const Naming first{first_motion_module, "_lora.down.weight", "_lora.up.weight", ".alpha"};
  for (const Naming& naming : {first, processor_naming(), peft_naming()}) {
    SCOPED_TRACE(naming.module("unet", "mid_block.motion_modules.0.transformer_blocks.0.attn1.to_q"));
    expect_lora_parity("animate_motion_lora", [&](const std::string&) { return naming; });
  }
}

TEST(MotionLora, makes_the_cameras_move_that_its_name_says) {
  const TempFolder folder;
  write_sd_folder(folder.path() / "model", "sd1", golden_run("animate_v2")["scheduler"]);
  write_adapter_folder(folder.path() / "v2", "v2");
  const auto with_lora = [&](const std::string& name) {
    const fs::path file = folder.path() / name;
    write_lora(file, sd_golden()["loras"]["motion"], "motion", diffusers_naming());
    LoadOptions options = options_for(folder.path() / "model", folder.path() / "v2");
    options.loras = {{file.string(), 0.8}};
    return open_model(options);
  };
  const auto moves = [](const Model& model, const std::vector<std::pair<std::string, double>>& camera) {
    return model.plan({.prompt = "x", .camera = camera}).request.camera;
  };
  using Moves = std::vector<std::pair<std::string, double>>;
  const auto pan_left = with_lora("v2_lora_PanLeft.safetensors");
  EXPECT_EQ(moves(*pan_left, {{"pan-left", 1}}), Moves{});
  EXPECT_EQ(moves(*pan_left, {{"pan-right", 1}, {"pan-left", 1}, {"zoom-in", 0.5}}),
            (Moves{{"pan-right", 1}, {"zoom-in", 0.5}}));
  const Error error = error_of([&] { moves(*pan_left, {{"pan-left", 0.5}}); });
  EXPECT_EQ(error.code(), ErrorCode::usage);
  EXPECT_THAT(error.hint(), HasSubstr("--lora FILE:WEIGHT"));
  const auto roll = with_lora("animatediff-motion-lora-rolling-anticlockwise/diffusion_pytorch_model.safetensors");
  EXPECT_EQ(moves(*roll, {{"roll-ccw", 1}}), Moves{});
  EXPECT_EQ(moves(*roll, {{"roll-left", 1}}), Moves{});
  EXPECT_EQ(moves(*roll, {{"roll-cw", 1}}), (Moves{{"roll-cw", 1}}));
  // A LoRA of a look does not move the camera, whatever its name.
  write_lora(folder.path() / "zoom-in.safetensors", sd_golden()["loras"]["style"], "style", kohya_naming());
  LoadOptions options = options_for(folder.path() / "model", folder.path() / "v2");
  options.loras = {{(folder.path() / "zoom-in.safetensors").string(), 1}};
  EXPECT_EQ(moves(*open_model(options), {{"zoom-in", 0.5}}), (Moves{{"zoom-in", 0.5}}));
}

class MotionModule : public testing::Test {
 protected:
  void SetUp() override { write_sd_folder(base(), "sd1", golden_run("animate_v3")["scheduler"]); }
  fs::path base() const { return folder_.path() / "base"; }
  TempFolder folder_;
};

TEST_F(MotionModule, in_original_names_equals_the_folder_also_with_a_single_file_model) {
  sd_single_file("sd1").write(folder_.path() / "model.safetensors");
  write_original_adapter(folder_.path() / "v3_sd15_mm.safetensors", "v3");
  expect_parity(options_for(folder_.path() / "model.safetensors", folder_.path() / "v3_sd15_mm.safetensors"),
                "animate_v3");
}

TEST_F(MotionModule, of_version_1_says_how_many_frames_it_sees) {
  write_original_adapter(folder_.path() / "mm_sd_v14.safetensors", "v1");
  const auto model = open_model(options_for(base(), folder_.path() / "mm_sd_v14.safetensors"));
  EXPECT_EQ(model->info().family, "animatediff");
  EXPECT_EQ(model->info().frames, 16);
  EXPECT_EQ(model->info().fps, (Rational{8, 1}));
  EXPECT_EQ(model->plan({.prompt = "x", .frames = 24}).latent_shape, (std::vector<int64_t>{1, 4, 24, 8, 8}));
  EXPECT_THAT(error_of([&] { model->plan({.prompt = "x", .frames = 25, .context = 0}); }).what(),
              HasSubstr("at most 24 with --context 0"));
}

TEST_F(MotionModule, in_a_saved_pipeline_lies_in_the_unet) {
  const io::Json& adapter = sd_golden()["adapters"]["v3"];
  Manifest unet = sd_manifest("sd1", "unet");
  unet.merge(read_manifest(adapter["tensors"]));
  io::Json config = sd_golden()["models"]["sd1"]["configs"]["unet"];
  config["_class_name"] = "UNetMotionModel";
  config["num_attention_heads"] = config["attention_head_dim"];
  config["down_block_types"] = {"CrossAttnDownBlockMotion", "DownBlockMotion"};
  config["up_block_types"] = {"UpBlockMotion", "CrossAttnUpBlockMotion"};
  for (const char* key : {"motion_max_seq_length", "use_motion_mid_block", "motion_num_attention_heads"}) {
    config[key] = adapter["config"][key];
  }
  write_text(base() / "unet/config.json", config.dump());
  write_formula_checkpoint(base() / "unet/diffusion_pytorch_model.safetensors", unet);
  // What the pipeline's own scheduler says is kept; here it is the one of the golden run.
  io::Json scheduler = golden_run("animate_v3")["scheduler"];
  scheduler.update({{"_class_name", "DDIMScheduler"}, {"beta_schedule", "linear"}, {"timestep_spacing", "linspace"}});
  write_text(base() / "scheduler/scheduler_config.json", scheduler.dump());
  write_text(base() / "model_index.json", R"({"_class_name": "AnimateDiffPipeline",
    "motion_adapter": ["diffusers", "MotionAdapter"], "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNetMotionModel"], "vae": ["diffusers", "AutoencoderKL"]})");
  expect_parity(options_for(base()), "animate_v3");
  // Another adapter takes the place of the saved modules.
  write_adapter_folder(folder_.path() / "v2", "v2");
  expect_parity(options_for(base(), folder_.path() / "v2"), "animate_v2");
}

TEST_F(MotionModule, brings_the_schedule_it_was_trained_with) {
  for (const auto& [name, sampler, steps, cfg_scale] :
       {std::tuple{"v3", "DDIMScheduler", int64_t{50}, 7.5},
        {"AnimateLCM", "LCMScheduler", int64_t{6}, 2.0},
        {"AnimateDiff_Lightning_8step", "EulerDiscreteScheduler", int64_t{8}, 1.0}}) {
    write_adapter_folder(folder_.path() / name, "v3");
    const auto model = open_model(options_for(base(), folder_.path() / name));
    const Plan plan = model->plan({.prompt = "x"});
    EXPECT_EQ(plan.sampler_class, sampler);
    EXPECT_EQ(plan.request.steps, steps);
    EXPECT_EQ(plan.request.cfg_scale, cfg_scale);
  }
}

TEST(MotionModuleName, is_the_files_own_and_the_folders_only_where_that_says_nothing) {
  const io::Config base(io::Json::object(), "scheduler_config.json");
  const auto recipe = [&](const char* module) { return models::animatediff::recipe_for(module, base).name; };
  for (const char* plain : {"lightning_tests/mm_sd_v15_v2.safetensors", "AnimateLCM/v3_sd15_mm.ckpt", "lightning/v3/",
                            "AnimateLCM/adapter/diffusion_pytorch_model.safetensors"}) {
    EXPECT_EQ(recipe(plain), "AnimateDiff") << plain;
  }
  for (const char* lcm : {"AnimateLCM", "AnimateLCM/", "old/AnimateLCM_sd15_t2v.ckpt",
                          "AnimateLCM/diffusion_pytorch_model.fp16.safetensors", "AnimateLCM/model.safetensors",
                          "lightning/AnimateLCM/", "animate-lcm/motion_adapter/", "AnimateLCM/motion_module.ckpt"}) {
    EXPECT_EQ(recipe(lcm), "AnimateLCM") << lcm;
  }
  const auto lightning = models::animatediff::recipe_for("Lightning_2step/diffusion_pytorch_model.safetensors", base);
  EXPECT_EQ(lightning.name, "AnimateDiff-Lightning");
  EXPECT_EQ(lightning.steps, 2);
}

TEST_F(MotionModule, that_does_not_fit_is_refused) {
  write_adapter_folder(folder_.path() / "wide", "v3");
  io::Json config = sd_golden()["adapters"]["v3"]["config"];
  config["block_out_channels"] = {64, 128};
  write_text(folder_.path() / "wide/config.json", config.dump());
  EXPECT_THAT(error_opening(options_for(base(), folder_.path() / "wide")).what(), HasSubstr("block_out_channels"));
  // A file that is no motion module.
  write_formula_checkpoint(folder_.path() / "other.safetensors", {{"a.weight", {2}}});
  EXPECT_THAT(error_opening(options_for(base(), folder_.path() / "other.safetensors")).what(),
              HasSubstr("wanted a MotionAdapter folder"));
  // A family without motion modules.
  const io::Json modelscope = pipelines_golden();
  write_tiny_checkpoint(folder_.path() / "modelscope", modelscope, modelscope["runs"]["default"]["scheduler"]);
  write_adapter_folder(folder_.path() / "v3", "v3");
  EXPECT_THAT(error_opening(options_for(folder_.path() / "modelscope", folder_.path() / "v3")).what(),
              HasSubstr("--motion-module: not taken by TextToVideoSDPipeline"));
}

}  // namespace
}  // namespace t2v::test
