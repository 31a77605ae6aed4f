// SPDX-License-Identifier: Apache-2.0
#include "models/clip.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "engine/sample.hpp"
#include "models/run.hpp"
#include "sampling/camera.hpp"
#include "sampling/clip_noise.hpp"
#include "sampling/free_init.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::models {

namespace {

/// How much of the clip is made anew after a camera has moved it: enough to mend what the warp tore, not enough to lose
/// where it put things.
constexpr double kCameraStrength = 0.6;

/// Several samplings shown as one stage.
class JoinedProgress final : public Progress {
 public:
  JoinedProgress(Progress& outer, int64_t count) : outer_(outer), count_(count) {}
  ~JoinedProgress() override {
    if (began_) outer_.end(Stage::denoise, seconds_);
  }
  JoinedProgress(const JoinedProgress&) = delete;
  JoinedProgress& operator=(const JoinedProgress&) = delete;

  void begin(Stage stage, int64_t) override {
    if (!began_) outer_.begin(stage, count_);
    began_ = true;
  }
  void step(Stage stage, int64_t, int64_t, double seconds) override { outer_.step(stage, index_++, count_, seconds); }
  void end(Stage, double seconds) override { seconds_ += seconds; }
  bool cancelled() override { return outer_.cancelled(); }

 private:
  Progress& outer_;
  int64_t count_, index_ = 0;
  double seconds_ = 0;
  bool began_ = false;
};

using Schedulers = std::vector<std::unique_ptr<sampling::Scheduler>>;

int64_t iterations(const Request& request) { return request.freeinit.value_or(1); }

/// One for each sampling from noise, and one for what follows a camera's move.
Schedulers run_schedulers(const Plan& plan, const io::Config& config) {
  const Request& request = plan.request;
  const int64_t steps = *request.steps, count = iterations(request);
  Schedulers schedulers;
  for (int64_t i = 0; i < count; ++i) {
    // FreeInit's coarse-to-fine sampling (its section 3.3), rounded as diffusers does.
    const double part = static_cast<double>(steps) / static_cast<double>(count) * static_cast<double>(i + 1);
    const int64_t own = request.freeinit_fast ? std::max<int64_t>(1, static_cast<int64_t>(part)) : steps;
    schedulers.push_back(run_scheduler(plan, config, {own, request.video.empty() ? 1.0 : request.strength.value_or(1.0)}));
  }
  if (!request.camera.empty()) {
    // Late, but never without a step.
    const double least = 1.0 / static_cast<double>(steps);
    schedulers.push_back(run_scheduler(plan, config, {steps, std::max(kCameraStrength, least)}));
  }
  return schedulers;
}

sampling::FreeInitOptions free_init_options(const Request& request) {
  sampling::FreeInitOptions options;
  if (request.freeinit_filter == "gaussian") options.filter = sampling::FrequencyFilter::gaussian;
  if (request.freeinit_filter == "ideal") options.filter = sampling::FrequencyFilter::ideal;
  options.order = request.freeinit_order.value_or(options.order);
  options.space_cutoff = request.freeinit_space.value_or(options.space_cutoff);
  options.time_cutoff = request.freeinit_time.value_or(options.time_cutoff);
  return options;
}

sampling::CameraMove camera_move(const Request& request) {
  sampling::CameraMove move;
  for (const auto& [name, strength] : request.camera) {
    for (const auto& word : sampling::camera_words()) {
      if (word.name == name) move = move + word.move * strength;
    }
  }
  return move;
}

/// The noise of FreeInit's next iteration: low frequencies of the clip, diffused with the noise it came from.
at::Tensor free_init_noise(const ClipRun& run, const at::Tensor& clip, const at::Tensor& noise) {
  const at::Tensor diffused = sampling::diffuse_fully(clip, noise, run.scheduler);
  const at::Tensor fresh = run.rng.normal(noise.sizes(), c10::kFloat, noise.device());
  const at::Tensor filter = sampling::low_pass_filter(free_init_options(run.plan.request), noise.size(run.frame_dim),
                                                      noise.size(-2), noise.size(-1));
  return sampling::mix_frequencies(diffused, fresh, filter, run.frame_dim).to(noise.scalar_type());
}

}  // namespace

/// A loop shorter than a window is seen twice a step, begun at opposite frames: the seam of one view is the middle of
/// the other.
sampling::WindowOptions window_options(const Plan& plan) {
  const Request& r = plan.request;
  const bool windows = plan.frames_at_once < plan.frames;
  return {.frames = plan.frames,
          .size = windows ? plan.frames_at_once : 0,
          .overlap = r.context_overlap.value_or(plan.frames_at_once / 2),
          .strides = r.context_stride.value_or(1),
          .loop = r.loop,
          .blend = r.context_blend == "flat" ? sampling::Blend::flat : sampling::Blend::pyramid};
}

int64_t window_bytes(const Plan& plan) {
  if (plan.frames_at_once >= plan.frames) return 0;
  constexpr int64_t kCopies = 6;  // state, network input, sum, prediction, the sampler's step and its history
  return std::accumulate(plan.latent_shape.begin(), plan.latent_shape.end(), kCopies * int64_t{4},
                         std::multiplies<int64_t>());
}

at::Tensor clip_noise(const Plan& plan, int64_t frame_dim, const Placement& placement, Rng& rng) {
  using sampling::ClipNoise;
  if (plan.frames_at_once >= plan.frames) return rng.normal(plan.latent_shape, placement.dtype, placement.device);
  const std::string& name = plan.request.noise;
  const sampling::ClipNoiseOptions options{
      .kind = name == "freenoise" ? ClipNoise::freenoise : name == "repeat" ? ClipNoise::repeat : ClipNoise::random,
      .window = plan.frames_at_once,
      .stride = std::max<int64_t>(1, plan.frames_at_once / 4)};  // 4 of 16, as published
  return sampling::draw_clip_noise(options, plan.latent_shape, frame_dim, placement.dtype, placement.device, rng);
}

at::Tensor sample_clip(const ClipRun& run, const ClipStart& start) {
  const Request& request = run.plan.request;
  sampling::WindowedDenoiser denoiser(run.denoiser, window_options(run.plan), run.frame_dim, [&run] {
    if (run.progress.cancelled()) throw Error(ErrorCode::interrupted, "interrupted");
  });
  const Schedulers schedulers = run_schedulers(run.plan, run.scheduler);
  const int64_t calls = std::accumulate(schedulers.begin(), schedulers.end(), int64_t{0}, [](int64_t sum, const auto& s) {
    return sum + static_cast<int64_t>(s->timesteps().size());
  });
  JoinedProgress progress(run.progress, calls);
  const auto sample = [&](sampling::Scheduler& scheduler, const at::Tensor& state) {
    return engine::sample(scheduler, state, denoiser, run.rng, progress);
  };

  sampling::Scheduler& first = *schedulers.front();
  at::Tensor clip = sample(first, start.original.defined() ? first.add_noise(start.original, start.noise, 0)
                                                           : start.noise * first.init_noise_sigma());
  for (int64_t i = 1; i < iterations(request); ++i) {
    sampling::Scheduler& next = *schedulers[static_cast<size_t>(i)];
    clip = sample(next, free_init_noise(run, clip, start.noise) * next.init_noise_sigma());
  }
  if (!request.camera.empty()) {
    const at::Tensor moved = sampling::warp_clip(clip, camera_move(request), run.frame_dim, request.loop);
    clip = sample(*schedulers.back(), schedulers.back()->add_noise(moved, run.rng.normal_like(moved), 0));
  }
  return clip;
}

}  // namespace t2v::models
