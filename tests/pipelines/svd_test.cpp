// SPDX-License-Identifier: Apache-2.0
// Stable Video Diffusion through the public API: runs equal to diffusers', plans, and requests that make no sense.
#include <functional>
#include <map>
#include <numeric>

#include <gtest/gtest.h>

#include "pipelines/svd_run.hpp"
#include "support/svd_file.hpp"
#include "t2v/error.hpp"

namespace t2v::test {
namespace {

class SvdRun : public testing::TestWithParam<std::string> {};

TEST_P(SvdRun, equals_diffusers) {
  const WholeRunResult result = run_svd(GetParam());
  // The project's promise for whole fp32 runs; the temporal decoder may round one level further than an image VAE.
  EXPECT_LE(result.latents_error, 1e-4);
  EXPECT_LE(result.frames_error.value_or(0), 2);
}

std::vector<std::string> svd_run_names() {
  std::vector<std::string> names;
  for (const auto& [name, run] : svd_document()["runs"].items()) names.push_back(name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(diffusers, SvdRun, testing::ValuesIn(svd_run_names()),
                         [](const auto& info) { return info.param; });

/// A checkpoint that stays for all tests of the suite.
class Svd : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    write_svd_checkpoint(folder_->path() / "model");
    write_picture(folder_->path(), 64, 48);
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::unique_ptr<Model> model() {
    return open_model({.model = (folder_->path() / "model").string(), .device = "cpu"});
  }
  static Request small() {
    return {.width = 32, .height = 32, .frames = 2, .steps = 2, .seed = 1, .image = folder_->path() / "image.png"};
  }
  /// The message of the plan's refusal, and its code.
  static std::pair<std::string, ErrorCode> refusal(const Request& request) {
    try {
      model()->plan(request);
    } catch (const Error& error) {
      return {error.what(), error.code()};
    }
    return {"accepted", ErrorCode::internal};
  }
  static inline TempFolder* folder_ = nullptr;
};

TEST_F(Svd, info_and_defaults_are_the_pipelines) {
  const auto opened = model();
  const ModelInfo& info = opened->info();
  EXPECT_EQ(info.family, "svd");
  EXPECT_EQ(info.width, 1024);
  EXPECT_EQ(info.height, 576);
  EXPECT_EQ(info.frames, 4);  // num_frames of the config
  EXPECT_EQ(info.steps, 25);
  EXPECT_EQ(info.components.size(), 3U);
  Request request = small();
  request.decode_chunk.reset();
  const Plan plan = opened->plan(request);
  EXPECT_EQ(plan.request.cond_fps, 7);
  EXPECT_EQ(plan.request.motion_bucket, 127);
  EXPECT_EQ(plan.request.noise_aug, 0.02);
  EXPECT_EQ(plan.request.cfg_min, 1.0);
  EXPECT_EQ(plan.request.cfg_scale, 3.0);
  EXPECT_EQ(plan.request.decode_chunk, 2);  // all frames fit
  EXPECT_EQ(plan.latent_shape, (std::vector<int64_t>{1, 2, 4, 8, 8}));
  EXPECT_GT(plan.memory.denoise_peak, 0);
  EXPECT_GT(plan.denoise_flops, 0);
}

TEST_F(Svd, default_decode_chunk_is_as_many_frames_as_the_machine_holds) {
  Request request = small();
  request.width = request.height = 2048;
  request.frames = 300;
  const Plan plan = model()->plan(request);
  EXPECT_GE(*plan.request.decode_chunk, 1);
  EXPECT_LT(*plan.request.decode_chunk, 300);
  EXPECT_LT(plan.memory.decode_peak, int64_t{1} << 43);
}

TEST_F(Svd, a_prompt_is_refused_with_the_way_to_use_one) {
  Request request = small();
  request.prompt = "a cat";
  const auto [message, code] = refusal(request);
  EXPECT_EQ(code, ErrorCode::usage);
  EXPECT_EQ(message, "--prompt: StableVideoDiffusionPipeline has no text: wanted --image, got a prompt");
}

TEST_F(Svd, a_missing_image_is_named) {
  Request request = small();
  request.image.clear();
  const auto [message, code] = refusal(request);
  EXPECT_EQ(code, ErrorCode::usage);
  EXPECT_TRUE(message.starts_with("--image: wanted the image")) << message;
}

TEST_F(Svd, senseless_requests_are_refused_by_their_flag) {
  const auto check = [&](const std::string& flag, auto change) {
    Request request = small();
    change(request);
    const auto [message, code] = refusal(request);
    EXPECT_NE(message.find(flag), std::string::npos) << message;
    EXPECT_NE(code, ErrorCode::internal);
  };
  check("--width", [](Request& r) { r.width = 100; });
  check("--negative-prompt", [](Request& r) { r.negative_prompt = "x"; });
  check("--video", [](Request& r) { r.video = "x.mp4"; });
  check("--strength", [](Request& r) { r.strength = 0.5; });
  check("--cond-fps", [](Request& r) { r.cond_fps = 0; });
  check("--motion-bucket", [](Request& r) { r.motion_bucket = -1; });
  check("nowhere.png", [](Request& r) { r.image = "nowhere.png"; });
  check("2x2", [](Request& r) {
    r.image = folder_->path() / "line.png";
    io::save_png(r.image, formula_picture("line", 1, 9));
  });
}

TEST_F(Svd, motion_modules_are_refused) {
  EXPECT_THROW(open_model({.model = (folder_->path() / "model").string(), .motion_module = "x", .device = "cpu"}),
               Error);
}

/// weight [out, in, kernel] += scale * up [out, rank] down [rank, in, kernel]
void add_product(std::vector<float>& weight, const std::vector<float>& up, const std::vector<float>& down, size_t rank,
                 float scale) {
  const size_t out = up.size() / rank, row = down.size() / rank;
  for (size_t o = 0; o < out; ++o) {
    for (size_t i = 0; i < row; ++i) {
      double sum = 0;
      for (size_t r = 0; r < rank; ++r) sum += static_cast<double>(up[o * rank + r]) * down[r * row + i];
      weight[o * row + i] += scale * static_cast<float>(sum);
    }
  }
}

TEST_F(Svd, a_lora_changes_the_weights_it_names) {
  // Attention over space and over frames, the value that one token of image leaves of cross-attention, convolutions.
  const std::vector<std::string> modules{"down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
                                         "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v",
                                         "up_blocks.1.attentions.1.temporal_transformer_blocks.0.attn1.to_out.0",
                                         "mid_block.attentions.0.proj_in",
                                         "mid_block.resnets.0.spatial_res_block.conv1",
                                         "up_blocks.0.resnets.1.temporal_res_block.conv2"};
  constexpr int64_t kRank = 2;
  const Manifest manifest = read_manifest(svd_document()["checkpoint"]["unet"]["tensors"]);
  TensorWriter lora;
  std::map<std::string, std::vector<float>> merged;
  for (const std::string& module : modules) {
    Shape down = manifest.at(module + ".weight"), up(down.size(), 1);
    up[0] = down[0], up[1] = kRank, down[0] = kRank;
    lora.add_formula("unet." + module + ".lora_A.weight", down, module + ".down");
    lora.add_formula("unet." + module + ".lora_B.weight", up, module + ".up");
    auto& weight = merged[module + ".weight"] = formula_weight(module + ".weight", manifest.at(module + ".weight"));
    add_product(weight, formula_weight(module + ".up", up), formula_weight(module + ".down", down), kRank, 0.7F);
  }
  const TempFolder folder;
  lora.write(folder.path() / "l.safetensors");
  write_svd_checkpoint(folder.path() / "merged");
  TensorList unet;
  for (const auto& [name, shape] : manifest) {
    unet.add(name, shape, merged.contains(name) ? merged.at(name) : formula_weight(name, shape));
  }
  unet.write(folder.path() / "merged/unet/diffusion_pytorch_model.safetensors");
  const auto latents = [&](const fs::path& model, const std::vector<std::pair<std::string, double>>& loras) {
    const auto opened = open_model({.model = model.string(), .loras = loras, .device = "cpu"});
    Progress progress;
    return opened->load(progress)->denoise(opened->plan(small()), progress).data;
  };
  const auto plain = latents(folder_->path() / "model", {});
  const auto with_lora = latents(folder_->path() / "model", {{(folder.path() / "l.safetensors").string(), 0.7}});
  const auto wanted = latents(folder.path() / "merged", {});
  // The merged weights differ in their last bits, because the product is summed in another order; tiles of convolutions
  // widen that a little.
  EXPECT_LE(relative_l2(with_lora, wanted), 2e-5);
  EXPECT_GE(relative_l2(plain, wanted), 1e-2);
}

TEST_F(Svd, a_lora_of_another_model_is_refused) {
  const TempFolder folder;
  TensorWriter lora;
  lora.add("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", {1, 3}, {1, 2, 3});
  lora.add("lora_unet_mid_block_attentions_0_proj_in.lora_up.weight", {3, 1}, {1, 2, 3});
  lora.write(folder.path() / "other.safetensors");
  const Error error = error_of([&] {
    open_model({.model = (folder_->path() / "model").string(),
                .loras = {{(folder.path() / "other.safetensors").string(), 1}}});
  });
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_NE(std::string(error.what()).find("mid_block.attentions.0.proj_in.weight"), std::string::npos) << error.what();
}

TEST_F(Svd, networks_of_different_models_are_refused) {
  const TempFolder other;
  write_svd_checkpoint(other.path());
  io::Json config = svd_document()["checkpoint"]["image_encoder"]["config"];
  config["projection_dim"] = 24;
  Manifest tensors = read_manifest(svd_document()["checkpoint"]["image_encoder"]["tensors"]);
  tensors.at("visual_projection.weight") = {24, 32};
  write_text(other.path() / "image_encoder/config.json", config.dump());
  write_formula_checkpoint(other.path() / "image_encoder/model.safetensors", tensors);
  try {
    open_model({.model = other.path().string(), .device = "cpu"});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_NE(std::string(error.what()).find("cross_attention_dim: wanted 24"), std::string::npos) << error.what();
  }
}

TEST(SvdFile, in_original_names_gives_the_video_of_its_folder) {
  const TempFolder folder;
  write_svd_file_folder(folder.path() / "model");
  svd_single_file().write(folder.path() / "svd.safetensors");
  const fs::path image = write_picture(folder.path(), 80, 56);
  const auto run = [&](const std::string& name) {
    const auto model = open_model({.model = (folder.path() / name).string(), .device = "cpu"});
    EXPECT_EQ(model->info().pipeline_class, "StableVideoDiffusionPipeline");
    EXPECT_EQ(model->info().frames, 14);
    const Plan plan = model->plan({.width = 64, .height = 48, .frames = 3, .steps = 3, .seed = 7, .image = image});
    Progress progress;
    const auto pipeline = model->load(progress);
    const Latents latents = pipeline->denoise(plan, progress);
    MemorySink sink;
    pipeline->decode(latents, plan, sink, progress);
    return std::pair{latents.data, sink.rgb};
  };
  const auto whole = run("model"), single = run("svd.safetensors");
  EXPECT_EQ(single.first, whole.first);
  EXPECT_EQ(single.second, whole.second);
}

TEST(SvdFile, is_told_its_length_by_its_name_and_says_what_is_in_it) {
  const TempFolder folder;
  svd_single_file().write(folder.path() / "svd_xt_1_1.safetensors");
  const auto model = open_model({.model = (folder.path() / "svd_xt_1_1.safetensors").string(), .device = "cpu"});
  EXPECT_EQ(model->info().name, "svd_xt_1_1.safetensors");
  EXPECT_EQ(model->info().frames, 25);
  EXPECT_EQ(model->info().steps, 25);
  int64_t parameters = 0;
  for (const ComponentInfo& part : model->info().components) {
    for (const auto& [name, shape] : read_manifest(svd_file_parts()[part.name]["tensors"])) {
      parameters += std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
    }
    parameters -= part.parameters;
  }
  EXPECT_EQ(parameters, 0) << "of all components, beyond what the file's own description counts";
}

TEST(SvdFile, with_a_part_that_is_missing_or_strange_is_refused_by_its_name) {
  const auto message = [](const std::string& dropped, const std::string& added) {
    const TempFolder folder;
    TensorList list = svd_single_file();
    list.drop(dropped);
    if (!added.empty()) list.add(added, {1}, {1});
    list.write(folder.path() / "svd.safetensors");
    return std::string(
        error_of([&] { open_model({.model = (folder.path() / "svd.safetensors").string(), .device = "cpu"}); }).what());
  };
  const std::string unet = "model.diffusion_model.";
  EXPECT_NE(message("conditioner.embedders.0.", "").find("OpenCLIP's image tower"), std::string::npos);
  EXPECT_NE(message("conditioner.embedders.3.", "").find("an image autoencoder"), std::string::npos);
  EXPECT_NE(message(unet + "middle_block.0.time_mixer.", "").find("mid_block.resnets.0.time_mixer.mix_factor"),
            std::string::npos);
  EXPECT_NE(
      message("none", unet + "middle_block.0.time_stack.other").find("mid_block.resnets.0.temporal_res_block.other"),
      std::string::npos);
}

TEST_F(Svd, same_seed_gives_the_same_latents_and_another_seed_others) {
  const auto opened = model();
  Progress progress;
  const auto pipeline = opened->load(progress);
  const auto run = [&](int64_t seed, double noise_aug) {
    Request request = small();
    request.seed = seed;
    request.noise_aug = noise_aug;
    return pipeline->denoise(opened->plan(request), progress).data;
  };
  const auto first = run(1, 0.02);
  EXPECT_EQ(first, run(1, 0.02));
  EXPECT_NE(first, run(2, 0.02));
  EXPECT_NE(first, run(1, 0.5));
}

TEST_F(Svd, tiles_and_chunks_decode_every_frame) {
  const auto opened = model();
  Progress progress;
  const auto pipeline = opened->load(progress, Parts::decoder);
  Request request = small();
  request.frames = 3;
  request.width = 96;
  request.vae_tiling = true;
  request.decode_chunk = 2;
  const Plan plan = opened->plan(request);
  Latents latents{plan.latent_shape, formula_input("latents", plan.latent_shape), {}};
  MemorySink sink;
  pipeline->decode(latents, plan, sink, progress);
  EXPECT_EQ(sink.rgb.size(), 3U * 96 * 32 * 3);
}

}  // namespace
}  // namespace t2v::test
