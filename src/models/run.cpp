// SPDX-License-Identifier: Apache-2.0
#include "models/run.hpp"

#include <algorithm>
#include <string>

#include "core/log.hpp"
#include "core/text.hpp"
#include "engine/available_memory.hpp"
#include "engine/cuda_warm_up.hpp"
#include "engine/latents.hpp"
#include "models/clip.hpp"
#include "sampling/scheduler.hpp"
#include "t2v/error.hpp"

namespace t2v::models {

namespace {

/// What sampling and decoding may take.
int64_t free_bytes(const Plan& plan) {
  engine::finish_cuda_warm_up();
  return engine::available_bytes(plan.device);
}

}  // namespace

void check_scheduler(const Plan& plan, const io::Config& config) {
  clip_scheduler(plan, config);
  const std::string sampler = plan.request.sampler.empty() ? plan.sampler_class : plan.request.sampler;
  if (const auto warning = sampling::scheduler_warning(sampler, config); !warning.empty()) log::warn("{}", warning);
}

bool is_short_of_memory(const Plan& plan) {
  const int64_t available = free_bytes(plan);
  const int64_t wanted = std::max(plan.memory.denoise_peak, plan.memory.decode_peak);
  if (available <= 0 || wanted <= available) return false;
  log::info("the run needs about {} more, {} are free: the text encoder makes room", human_bytes(wanted),
            human_bytes(available));
  return true;
}

bool guides_in_one_batch(const Plan& plan) {
  const int64_t available = free_bytes(plan), wanted = plan.memory.denoise_peak;
  if (available <= 0 || wanted <= available || *plan.request.cfg_scale <= 1.0) return true;
  log::info("a network call needs {}, {} are free: prompt and negative prompt go one after the other",
            human_bytes(wanted), human_bytes(available));
  return false;
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

at::Tensor initial_noise(const Plan& plan, int64_t frame_dim, const Placement& placement, Rng& rng) {
  const auto& file = plan.request.init_latents;
  if (file.empty()) return clip_noise(plan, frame_dim, placement, rng);
  const at::Tensor latents = engine::to_tensor(engine::load_latents(file));
  if (latents.sizes() != at::IntArrayRef(plan.latent_shape)) {
    throw Error(ErrorCode::bad_input, "bad latents: " + file.string() + ": wanted " + join_ints(plan.latent_shape) +
                                          ", got " + join_ints(latents.sizes()));
  }
  return latents.to(placement.device, placement.dtype);
}

}  // namespace t2v::models
