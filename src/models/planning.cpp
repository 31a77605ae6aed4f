// SPDX-License-Identifier: Apache-2.0
#include "models/planning.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <string_view>

#include "core/log.hpp"
#include "core/text.hpp"
#include "engine/memory_probe.hpp"
#include "io/tensor_file.hpp"
#include "sampling/camera.hpp"
#include "sampling/scheduler.hpp"
#include "t2v/error.hpp"

namespace t2v::models {

namespace {

/// Flags that only some families take: the name in ModelInfo::accepts, and whether the request uses it.
struct FamilyFlag {
  std::string_view name;
  bool (*used)(const Request&);
};

constexpr std::array kFamilyFlags{
    FamilyFlag{"prompt-at", [](const Request& r) { return !r.prompt_at.empty(); }},
    FamilyFlag{"prompt-syntax", [](const Request& r) { return !r.prompt_syntax.empty(); }},
    FamilyFlag{"negative-prompt", [](const Request& r) { return r.negative_prompt.has_value(); }},
    FamilyFlag{"cond-fps", [](const Request& r) { return r.cond_fps.has_value(); }},
    FamilyFlag{"cfg-min", [](const Request& r) { return r.cfg_min.has_value(); }},
    FamilyFlag{"clip-skip", [](const Request& r) { return r.clip_skip.has_value(); }},
    FamilyFlag{"image", [](const Request& r) { return !r.image.empty(); }},
    FamilyFlag{"end-image", [](const Request& r) { return !r.end_image.empty(); }},
    FamilyFlag{"video", [](const Request& r) { return !r.video.empty(); }},
    FamilyFlag{"strength", [](const Request& r) { return r.strength.has_value(); }},
    FamilyFlag{"motion-bucket", [](const Request& r) { return r.motion_bucket.has_value(); }},
    FamilyFlag{"noise-aug", [](const Request& r) { return r.noise_aug.has_value(); }},
};

constexpr double kMaxCameraStrength = 4;  // a whole frame's travel

void reject_foreign_flags(const Request& request, const ModelInfo& info) {
  for (const auto& flag : kFamilyFlags) {
    if (!flag.used(request)) continue;
    if (std::find(info.accepts.begin(), info.accepts.end(), flag.name) != info.accepts.end()) continue;
    throw Error(ErrorCode::unsupported,
                "--" + std::string(flag.name) + ": not taken by " + info.pipeline_class + " (" + info.name + ")");
  }
}

[[noreturn]] void bad_value(const std::string& flag, const std::string& wanted, const std::string& got,
                            const std::string& hint = {}) {
  throw Error(ErrorCode::usage, "bad value: --" + flag + ": wanted " + wanted + ", got " + got, hint);
}

int64_t checked_int(const std::string& flag, int64_t value, int64_t min, int64_t max) {
  if (value < min || value > max) {
    bad_value(flag, std::to_string(min) + " to " + std::to_string(max), std::to_string(value),
              "the nearest allowed value is " + std::to_string(std::clamp(value, min, max)));
  }
  return value;
}

double checked_real(const std::string& flag, double value, double min, double max) {
  if (!(value >= min && value <= max)) {
    const auto text = [](double x) {
      std::string s = std::to_string(x);
      s.erase(s.find_last_not_of('0') + 1);
      if (s.back() == '.') s.pop_back();
      return s;
    };
    bad_value(flag, text(min) + " to " + text(max), text(value));
  }
  return value;
}

int64_t checked_size(const std::string& flag, int64_t value, const Limits& limits) {
  checked_int(flag, value, limits.min_size, limits.max_size);
  if (value % limits.size_multiple != 0) {
    const int64_t nearest =
        std::max(limits.min_size, (value + limits.size_multiple / 2) / limits.size_multiple * limits.size_multiple);
    bad_value(flag, "a multiple of " + std::to_string(limits.size_multiple), std::to_string(value),
              "the nearest allowed value is " + std::to_string(nearest));
  }
  return value;
}

int64_t planned_frames(const Request& request, const ModelInfo& info, const Limits& limits, const Rational& fps) {
  if (request.frames && request.seconds) {
    throw Error(ErrorCode::usage, "--frames and --seconds: wanted one of them, got both");
  }
  if (request.seconds) {
    const double seconds = checked_real("seconds", *request.seconds, 1e-3, 1e6);
    const auto frames = static_cast<int64_t>(std::llround(seconds * fps.value()));
    return std::clamp(frames, limits.min_frames, limits.max_frames);
  }
  return checked_int("frames", request.frames.value_or(info.frames), limits.min_frames, limits.max_frames);
}

/// Whether the network sees windows of the clip, and which.
void plan_windows(Plan& plan, const ModelInfo& info, const Limits& limits) {
  Request& r = plan.request;
  plan.frames_at_once = plan.frames;
  const int64_t bound = limits.max_window > 0 ? limits.max_window : limits.max_frames;
  const bool long_clip = plan.frames > bound || (limits.trained_frames > 0 && plan.frames > limits.trained_frames);
  const int64_t size =
      r.context ? checked_int("context", *r.context, 0, bound) : (long_clip ? std::min(info.frames, bound) : 0);
  if (size == 0 && plan.frames > bound) {
    bad_value("frames", "at most " + std::to_string(bound) + " with --context 0", std::to_string(plan.frames),
              "leave --context out: longer clips are then made in overlapping windows");
  }
  const bool windows = size > 0 && size < plan.frames;
  if (r.context_stride) checked_int("context-stride", *r.context_stride, 1, 16);
  if (windows) {
    if (!r.context) {
      log::info("{} frames are more than this model sees at once: windows of {} frames (--context)", plan.frames, size);
    }
    plan.frames_at_once = size;
    r.context = size;
    r.context_stride = r.context_stride.value_or(1);
    r.context_overlap = checked_int("context-overlap", r.context_overlap.value_or(size / 4), 0, size - 1);
    if (r.context_blend.empty()) r.context_blend = "pyramid";
  } else if (r.loop && r.context_overlap) {
    checked_int("context-overlap", *r.context_overlap, 0, plan.frames - 1);
  }
}

void check_one_of(const std::string& flag, const std::string& value, const std::vector<std::string>& choices) {
  if (value.empty() || std::find(choices.begin(), choices.end(), value) != choices.end()) return;
  throw Error(ErrorCode::usage, "bad value: --" + flag + ": got '" + value + "'", did_you_mean(value, choices));
}

void check_camera(const Request& request) {
  std::vector<std::string> known;
  for (const auto& word : sampling::camera_words()) known.emplace_back(word.name);
  for (const auto& [name, strength] : request.camera) {
    check_one_of("camera", name, known);
    checked_real("camera", strength, 0, kMaxCameraStrength);
  }
}

/// FreeInit, the initial noise and the camera.
void check_clip(const Request& r, const std::string& sampler_class) {
  check_one_of("context-blend", r.context_blend, {"pyramid", "flat"});
  check_one_of("noise", r.noise, {"random", "freenoise", "repeat"});
  check_one_of("freeinit-filter", r.freeinit_filter, {"butterworth", "gaussian", "ideal"});
  if (r.freeinit_order) checked_real("freeinit-order", *r.freeinit_order, 0.1, 100);
  if (r.freeinit_space) checked_real("freeinit-space", *r.freeinit_space, 0, 1);
  if (r.freeinit_time) checked_real("freeinit-time", *r.freeinit_time, 0, 1);
  check_camera(r);
  if (!r.freeinit || checked_int("freeinit", *r.freeinit, 1, 100) == 1) return;
  if (!r.video.empty()) throw Error(ErrorCode::usage, "--freeinit: wanted a run from noise, got --video");
  if (sampler_class.starts_with("FlowMatch")) {
    throw Error(ErrorCode::unsupported,
                "--freeinit: not possible with " + sampler_class + ", whose clips begin from pure noise");
  }
}

/// The diffusers class for a contract name or class name.
std::string scheduler_class(const std::string& sampler, const Limits& limits) {
  if (sampler.empty()) return limits.default_sampler;
  std::vector<std::string> known;
  for (const auto& row : sampling::scheduler_rows()) {
    if (row.name == sampler || row.class_name == sampler) return std::string(row.class_name);
    known.emplace_back(row.name);
  }
  throw Error(ErrorCode::usage, "bad value: --sampler: got '" + sampler + "'", did_you_mean(sampler, known));
}

/// The header of --init-latents now; its data, and whether it fits, when the run begins.
void check_given_latents(const Request& request) {
  const std::filesystem::path& file = request.init_latents;
  if (file.empty()) return;
  // diffusers 0.42.1's VideoToVideoSDPipeline has a parameter `latents` and never looks at it.
  if (!request.video.empty()) {
    throw Error(ErrorCode::usage, "--init-latents: wanted a run from noise, got --video",
                "--seed chooses the noise that is added to the video");
  }
  if (io::open_tensor_file(file)->tensors().contains("latents")) return;
  throw Error(ErrorCode::bad_input, "--init-latents: " + file.string() + ": wanted a tensor 'latents', got none");
}

}  // namespace

void reject_motion_module(const LoadOptions& options, const std::string& pipeline_class) {
  if (options.motion_module.empty()) return;
  throw Error(ErrorCode::unsupported, "--motion-module: not taken by " + pipeline_class);
}

int64_t process_peak(int64_t all_weights, std::initializer_list<Turn> turns, bool keep_networks) {
  int64_t peak = 0;
  for (const Turn& turn : turns) peak = std::max(peak, (keep_networks ? all_weights : turn.weights) + turn.activations);
  return engine::kLibraryBytes + peak;
}

bool searches_convolutions(const Request& planned) {
  constexpr int64_t kStepsThatPay = 20;  // a search tries each shape's forms, some ten of them, several times
  return planned.fast && *planned.steps >= kStepsThatPay;
}

int64_t random_seed() {
  std::random_device device;
  return static_cast<int64_t>(device());
}

namespace {

/// Short runs have no steps to spare: what changes between two of theirs is too much.
int64_t fast_deepcache(int64_t steps) { return steps >= 20 ? 3 : steps >= 8 ? 2 : 1; }

/// What --fast stands for; t2v bench --fast measures what it costs.
void plan_shortcuts(Request& r) {
  constexpr double kFastUntil = 0.6;
  r.cfg_from = checked_real("cfg-from", r.cfg_from.value_or(0), 0, 1);
  r.cfg_until = checked_real("cfg-until", r.cfg_until.value_or(r.fast ? kFastUntil : 1), 0, 1);
  r.deepcache = checked_int("deepcache", r.deepcache.value_or(r.fast ? fast_deepcache(*r.steps) : 1), 1, 1000);
}

/// One warning for each prompt that names something outside the world of a small model.
void warn_of_unknown_words(const Request& request, const ModelInfo& info, const text::Vocabulary& vocabulary) {
  const auto warn = [&](const std::string& prompt) {
    const std::string outside = text::vocabulary_warning(vocabulary, info.name, prompt);
    if (!outside.empty()) log::warn("{}", outside);
  };
  warn(request.prompt);
  for (const auto& [frame, prompt] : request.prompt_at) warn(prompt);
}

}  // namespace

Plan plan_request(const Request& request, const ModelInfo& info, const Limits& limits) {
  reject_foreign_flags(request, info);
  check_given_latents(request);
  Plan plan;
  plan.request = request;
  Request& r = plan.request;

  r.width = checked_size("width", request.width.value_or(info.width), limits);
  r.height = checked_size("height", request.height.value_or(info.height), limits);
  plan.width = *r.width;
  plan.height = *r.height;

  plan.fps = request.fps.value_or(info.fps);
  if (plan.fps.num <= 0 || plan.fps.den <= 0 || plan.fps.value() > 240) {
    bad_value("fps", "more than 0 and at most 240", std::to_string(plan.fps.num) + "/" + std::to_string(plan.fps.den));
  }
  r.fps = plan.fps;
  plan.frames = planned_frames(request, info, limits, plan.fps);
  r.frames = plan.frames;
  r.seconds.reset();

  r.steps = checked_int("steps", request.steps.value_or(info.steps), 1, limits.max_steps);
  r.cfg_scale = checked_real("cfg-scale", request.cfg_scale.value_or(info.cfg_scale), 0, 1000);
  r.guidance_rescale = checked_real("guidance-rescale", request.guidance_rescale.value_or(0), 0, 1);
  plan_shortcuts(r);
  r.eta = checked_real("eta", request.eta.value_or(0), 0, 1);
  if (request.strength) r.strength = checked_real("strength", *request.strength, 0, 1);
  if (request.clip_skip) r.clip_skip = checked_int("clip-skip", *request.clip_skip, 0, 100);
  if (request.decode_chunk) r.decode_chunk = checked_int("decode-chunk", *request.decode_chunk, 1, 100000);
  if (!request.seed || *request.seed < 0) r.seed = random_seed();
  plan.sampler_class = scheduler_class(request.sampler, limits);
  plan_windows(plan, info, limits);
  check_clip(r, plan.sampler_class);
  warn_of_unknown_words(r, info, limits.vocabulary);
  return plan;
}

}  // namespace t2v::models
