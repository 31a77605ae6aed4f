// SPDX-License-Identifier: Apache-2.0
// A model that needs no weights: frames whose colour follows from seed and prompt. What the
// commands do around a model is tested on it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "commands/tools.hpp"
#include "engine/stage.hpp"
#include "t2v/error.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::testing_support {

/// What a test wants to happen, and what happened.
struct FakeWorld {
  std::function<void()> before_denoise, before_decode;
  int64_t display_scale = 1;  ///< of frames when no size is asked for
  Parts parts = Parts::all;   ///< of the last load
  int opened = 0, loaded = 0, denoised = 0, decoded = 0;
  std::string hash = "hash-1";
  bool black = false;                ///< nothing but black frames
  int64_t peak_bytes = 4000;         ///< what the plan says
  std::string lora_hash = "lora-1";  ///< of every LoRA asked for
};

class FakePipeline final : public Pipeline {
 public:
  explicit FakePipeline(FakeWorld& world) : world_(world) {}
  Latents denoise(const Plan& plan, Progress& progress) override {
    ++world_.denoised;
    engine::StageScope stage(progress, Stage::denoise, *plan.request.steps);
    if (world_.before_denoise) world_.before_denoise();
    for (int64_t i = 0; i < *plan.request.steps; ++i) stage.step();
    Latents latents{.shape = plan.latent_shape, .data = {}, .settings = {}};
    latents.data.assign(static_cast<size_t>(4 * plan.frames * 4 * 4), static_cast<float>(*plan.request.seed));
    return latents;
  }
  void decode(const Latents& latents, const Plan& plan, FrameSink& sink, Progress& progress) override {
    ++world_.decoded;
    engine::StageScope stage(progress, Stage::decode, plan.frames);
    if (world_.before_decode) world_.before_decode();
    std::vector<uint8_t> rgb(static_cast<size_t>(plan.width * plan.height * 3));
    const auto colour = static_cast<int64_t>(latents.data.front());
    for (size_t i = 0; i < rgb.size(); ++i)
      rgb[i] = world_.black ? 0 : static_cast<uint8_t>((colour + (i < 3 ? 64 : 0)) % 256);
    for (int64_t i = 0; i < plan.frames; ++i) {
      sink.write({.width = plan.width, .height = plan.height, .rgb = rgb});
      stage.step();
    }
  }

 private:
  FakeWorld& world_;
};

class FakeModel final : public Model {
 public:
  FakeModel(FakeWorld& world, const LoadOptions& options) : world_(world) {
    for (const auto& [path, weight] : options.loras) {
      info_.loras.push_back({.name = path,
                             .weight = weight,
                             .content_hash = world.lora_hash,
                             .naming = "PEFT",
                             .ranks = {4},
                             .matched = 6,
                             .tensors = 8});
    }
    info_.name = "fake";
    info_.family = "fake";
    info_.pipeline_class = "FakePipeline";
    info_.content_hash = world.hash;
  }
  const ModelInfo& info() const override { return info_; }
  Plan plan(const Request& request) const override {
    if (request.steps && *request.steps > 1000) throw Error(ErrorCode::usage, "--steps: wanted at most 1000, got more");
    Plan plan;
    plan.request = request;
    plan.request.steps = request.steps.value_or(3);
    plan.request.width = request.width.value_or(32);
    plan.request.height = request.height.value_or(32);
    const int64_t scale = request.width || request.height ? 1 : world_.display_scale;
    plan.width = *plan.request.width * scale;
    plan.height = *plan.request.height * scale;
    plan.frames = request.frames.value_or(4);
    plan.fps = request.fps.value_or(Rational{8, 1});
    plan.sampler_class = "DDIMScheduler";
    plan.latent_shape = {1, 4, plan.frames, 4, 4};
    plan.device = "cpu";
    plan.dtype = "fp32";
    plan.memory = {.weights = 1000, .denoise_peak = 2000, .decode_peak = 3000, .total_peak = world_.peak_bytes};
    return plan;
  }
  std::unique_ptr<Pipeline> load(Progress& progress, Parts parts) const override {
    world_.parts = parts;
    ++world_.loaded;
    const engine::StageScope stage(progress, Stage::load);
    return std::make_unique<FakePipeline>(world_);
  }

 private:
  FakeWorld& world_;
  ModelInfo info_;
};

inline commands::Tools fake_tools(FakeWorld& world) {
  return {.open_model = [&world](const LoadOptions& options) -> std::unique_ptr<Model> {
    ++world.opened;
    return std::make_unique<FakeModel>(world, options);
  }};
}

}  // namespace t2v::testing_support
