// SPDX-License-Identifier: Apache-2.0
#include "models/clip.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Context.h>

#include "engine/cuda_warm_up.hpp"
#include "engine/sample.hpp"
#include "models/planning.hpp"
#include "sampling/camera.hpp"
#include "sampling/clip_noise.hpp"
#include "sampling/free_init.hpp"
#include "t2v/error.hpp"
#include "t2v/run_state.hpp"
#include "tensor/operators.hpp"

namespace t2v::models {

namespace {

/// How much of the clip is made anew after a camera has moved it: enough to mend what the warp tore, not enough to lose
/// where it put things.
constexpr double kCameraStrength = 0.6;

/// While it lives cuDNN looks for its fastest convolutions if `on`. Without CUDA nobody asks.
class ConvolutionSearch {
 public:
  explicit ConvolutionSearch(bool on) : before_(at::globalContext().benchmarkCuDNN()) {
    at::globalContext().setBenchmarkCuDNN(before_ || on);
  }
  ~ConvolutionSearch() { at::globalContext().setBenchmarkCuDNN(before_); }
  ConvolutionSearch(const ConvolutionSearch&) = delete;
  ConvolutionSearch& operator=(const ConvolutionSearch&) = delete;

 private:
  bool before_;
};

using Schedulers = std::vector<std::unique_ptr<sampling::Scheduler>>;

int64_t calls(const std::unique_ptr<sampling::Scheduler>& scheduler) {
  return static_cast<int64_t>(scheduler->timesteps().size());
}

/// Several samplings, one after another, shown as one stage whose state is kept and resumed as that of one sampling.
class JoinedProgress final : public Progress {
 public:
  JoinedProgress(Progress& outer, const Schedulers& schedulers) : outer_(outer) {
    for (const auto& scheduler : schedulers) count_ += calls(scheduler);
    if (const RunState* kept = outer.resume_state()) kept_ = *kept;
  }
  ~JoinedProgress() override {
    if (began_) outer_.end(Stage::denoise, seconds_);
  }
  JoinedProgress(const JoinedProgress&) = delete;
  JoinedProgress& operator=(const JoinedProgress&) = delete;

  /// The next sampling has `count` calls. False: the run to resume was past it.
  bool enter(int64_t count) {
    base_ = next_;
    next_ += count;
    own_.reset();
    if (!kept_ || kept_->steps_done < base_) return true;
    if (kept_->steps_done >= next_) return false;
    own_ = *kept_;
    own_->steps_done -= base_;
    own_->steps = count;
    index_ = kept_->steps_done;
    return true;
  }
  bool resumes() const { return own_.has_value(); }  ///< in the sampling entered last

  void begin(Stage stage, int64_t) override {
    if (!began_) outer_.begin(stage, count_ - index_);
    began_ = true;
  }
  void step(Stage stage, int64_t, int64_t, double seconds) override { outer_.step(stage, index_++, count_, seconds); }
  void end(Stage, double seconds) override { seconds_ += seconds; }
  bool cancelled() override { return outer_.cancelled(); }
  bool wants_state(int64_t done, int64_t) override { return outer_.wants_state(base_ + done, count_); }
  void keep_state(RunState state) override {
    state.steps_done += base_;
    state.steps = count_;
    outer_.keep_state(std::move(state));
  }
  const RunState* resume_state() override { return own_ ? &*own_ : nullptr; }

 private:
  Progress& outer_;
  std::optional<RunState> kept_, own_;
  int64_t count_ = 0, base_ = 0, next_ = 0, index_ = 0;
  double seconds_ = 0;
  bool began_ = false;
};

std::unique_ptr<sampling::Scheduler> make_scheduler(const Plan& plan, const io::Config& config, int64_t steps,
                                                    double strength) {
  const Request& request = plan.request;
  sampling::SchedulerOptions options;
  options.steps = steps;
  options.eta = *request.eta;
  options.sigmas = request.sigmas;
  options.spacing = request.spacing;
  options.strength = strength;
  // A contract name may say more than its class ("dpmpp_2m_sde").
  return sampling::make_scheduler(request.sampler.empty() ? plan.sampler_class : request.sampler, config, options);
}

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
    schedulers.push_back(make_scheduler(plan, config, own, request.strength.value_or(1.0)));
  }
  if (!request.camera.empty()) {
    // Late, but never without a step.
    const double least = 1.0 / static_cast<double>(steps);
    schedulers.push_back(make_scheduler(plan, config, steps, std::max(kCameraStrength, least)));
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

std::unique_ptr<sampling::Scheduler> clip_scheduler(const Plan& plan, const io::Config& config) {
  return std::move(run_schedulers(plan, config).front());
}

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
  // One window has nothing to repeat; a picture's latents have no axis of frames at all.
  if (plan.frames_at_once >= plan.frames) return rng.normal(plan.latent_shape, placement.dtype, placement.device);
  const std::string& name = plan.request.noise;
  const sampling::ClipNoiseOptions options{
      .kind = name == "freenoise" ? ClipNoise::freenoise
              : name == "repeat"  ? ClipNoise::repeat
                                  : ClipNoise::random,
      .window = plan.frames_at_once,
      .stride = std::max<int64_t>(1, plan.frames_at_once / 4)};  // 4 of 16, as published
  return sampling::draw_clip_noise(options, plan.latent_shape, frame_dim, placement.dtype, placement.device, rng);
}

at::Tensor sample_clip(const ClipRun& run, const ClipStart& start) {
  engine::finish_cuda_warm_up();  // steps may be recorded, attention and convolutions timed
  const Request& request = run.plan.request;
  const ConvolutionSearch search(searches_convolutions(request));
  sampling::WindowedDenoiser denoiser(run.denoiser, window_options(run.plan), run.frame_dim, [&run] {
    if (run.progress.cancelled()) throw Error(ErrorCode::interrupted, "interrupted");
  });
  const Schedulers schedulers = run_schedulers(run.plan, run.scheduler);
  JoinedProgress progress(run.progress, schedulers);
  const c10::ScalarType dtype = start.noise.scalar_type();
  const at::Tensor noise = start.noise.to(c10::kFloat);
  at::Tensor clip;
  const auto sample = [&](sampling::Scheduler& scheduler, int64_t count, const std::function<at::Tensor()>& begin) {
    if (!progress.enter(count)) return;
    // A resumed sampling takes its state from the run before: only the shape counts.
    const at::Tensor state = progress.resumes() ? noise.clone() : begin();
    engine::StepGraph graph = engine::step_graph({noise.device(), dtype}, count);
    clip = engine::sample(scheduler, state, denoiser, run.rng, progress,
                          {.network_dtype = dtype, .graph = engine::can_record(noise.device()) ? &graph : nullptr});
  };

  for (int64_t i = 0; i < iterations(request); ++i) {
    sampling::Scheduler& scheduler = *schedulers[static_cast<size_t>(i)];
    sample(scheduler, calls(schedulers[static_cast<size_t>(i)]), [&] {
      if (i > 0) return free_init_noise(run, clip, noise) * scheduler.init_noise_sigma();
      return start.original.defined() ? scheduler.add_noise(start.original.to(c10::kFloat), noise, 0)
                                      : noise * scheduler.init_noise_sigma();
    });
  }
  if (!request.camera.empty()) {
    sampling::Scheduler& last = *schedulers.back();
    sample(last, calls(schedulers.back()), [&] {
      const at::Tensor moved = sampling::warp_clip(clip, camera_move(request), run.frame_dim, request.loop);
      return last.add_noise(moved, run.rng.normal_like(moved), 0);
    });
  }
  return clip;
}

}  // namespace t2v::models
