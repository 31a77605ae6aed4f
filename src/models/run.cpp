// SPDX-License-Identifier: Apache-2.0
#include "models/run.hpp"

#include <string>

#include <ATen/ops/cat.h>

#include "core/log.hpp"
#include "core/text.hpp"
#include "engine/latents.hpp"
#include "engine/sample.hpp"
#include "engine/stage.hpp"
#include "models/clip.hpp"
#include "t2v/error.hpp"

namespace t2v::models {

std::unique_ptr<sampling::Scheduler> run_scheduler(const Plan& plan, const io::Config& config) {
  const Request& request = plan.request;
  return run_scheduler(plan, config, {*request.steps, request.video.empty() ? 1.0 : *request.strength});
}

std::unique_ptr<sampling::Scheduler> run_scheduler(const Plan& plan, const io::Config& config, const SchedulePart& part) {
  const Request& request = plan.request;
  sampling::SchedulerOptions options;
  options.steps = part.steps;
  options.eta = *request.eta;
  options.sigmas = request.sigmas;
  options.spacing = request.spacing;
  options.strength = part.strength;
  // A contract name may say more than its class ("dpmpp_2m_sde").
  return sampling::make_scheduler(request.sampler.empty() ? plan.sampler_class : request.sampler, config, options);
}

void check_scheduler(const Plan& plan, const io::Config& config) {
  run_scheduler(plan, config);
  const std::string sampler = plan.request.sampler.empty() ? plan.sampler_class : plan.request.sampler;
  if (const auto warning = sampling::scheduler_warning(sampler, config); !warning.empty()) log::warn("{}", warning);
}

Rng run_rng(const Request& request, const Placement& placement) {
  c10::Device device(c10::kCPU);
  if (request.rng == RngDevice::cuda) {
    if (!placement.device.is_cuda()) {
      throw Error(ErrorCode::usage, "--rng cuda: wanted a run on CUDA, got one on " + placement.device.str());
    }
    device = placement.device;
  }
  return Rng(static_cast<uint64_t>(*request.seed), device);
}

at::Tensor initial_noise(const Plan& plan, const Placement& placement, Rng& rng, int64_t frame_dim) {
  const auto& file = plan.request.init_latents;
  if (file.empty()) return clip_noise(plan, frame_dim, placement, rng);
  const at::Tensor latents = engine::to_tensor(engine::load_latents(file));
  if (latents.sizes() != at::IntArrayRef(plan.latent_shape)) {
    throw Error(ErrorCode::bad_input, "bad latents: " + file.string() + ": wanted " + join_ints(plan.latent_shape) +
                                          ", got " + join_ints(latents.sizes()));
  }
  return latents.to(placement.device, placement.dtype);
}

at::Tensor PromptStates::batch() const { return negative ? at::cat({*negative, prompt}, 0) : prompt; }

PromptStates encode_prompts(const text::TextEncoder& encoder, const Request& request, bool guided, Progress& progress) {
  engine::StageScope stage(progress, Stage::text, guided ? 2 : 1);
  PromptStates states;
  states.prompt = encoder.encode(request.prompt, request.clip_skip.value_or(0)).hidden;
  stage.step();
  if (guided) {
    states.negative = encoder.encode(request.negative_prompt.value_or(""), 0).hidden;
    stage.step();
  }
  engine::require_finite(states.prompt, "text");
  return states;
}

}  // namespace t2v::models
