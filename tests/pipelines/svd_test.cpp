// SPDX-License-Identifier: Apache-2.0
// Stable Video Diffusion through the public API: runs equal to diffusers', plans, and requests that make no sense.
#include <gtest/gtest.h>

#include "pipelines/svd_run.hpp"
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

TEST_F(Svd, adapters_are_refused) {
  EXPECT_THROW(open_model({.model = (folder_->path() / "model").string(), .motion_module = "x", .device = "cpu"}), Error);
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
