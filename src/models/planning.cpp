// SPDX-License-Identifier: Apache-2.0
#include "models/planning.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <string_view>

#include "core/text.hpp"
#include "io/tensor_file.hpp"
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

void reject_foreign_flags(const Request& request, const ModelInfo& info) {
  for (const auto& flag : kFamilyFlags) {
    if (!flag.used(request)) continue;
    if (std::find(info.accepts.begin(), info.accepts.end(), flag.name) != info.accepts.end()) continue;
    throw Error(ErrorCode::unsupported, "--" + std::string(flag.name) + ": not taken by " +
                                            info.pipeline_class + " (" + info.name + ")");
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
    const int64_t nearest = std::max(
        limits.min_size, (value + limits.size_multiple / 2) / limits.size_multiple * limits.size_multiple);
    bad_value(flag, "a multiple of " + std::to_string(limits.size_multiple), std::to_string(value),
              "the nearest allowed value is " + std::to_string(nearest));
  }
  return value;
}

int64_t planned_frames(const Request& request, const ModelInfo& info, const Limits& limits,
                       const Rational& fps) {
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
void check_given_latents(const std::filesystem::path& file) {
  if (file.empty() || io::open_tensor_file(file)->tensors().contains("latents")) return;
  throw Error(ErrorCode::bad_input, "--init-latents: " + file.string() + ": wanted a tensor 'latents', got none");
}

}  // namespace

void reject_adapters(const LoadOptions& options, const std::string& pipeline_class) {
  const char* flag = !options.motion_module.empty() ? "--motion-module" : !options.loras.empty() ? "--lora" : nullptr;
  if (!flag) return;
  throw Error(ErrorCode::unsupported, std::string(flag) + ": not taken by " + pipeline_class);
}

int64_t random_seed() {
  std::random_device device;
  return static_cast<int64_t>(device());
}

Plan plan_request(const Request& request, const ModelInfo& info, const Limits& limits) {
  reject_foreign_flags(request, info);
  check_given_latents(request.init_latents);
  Plan plan;
  plan.request = request;
  Request& r = plan.request;

  r.width = checked_size("width", request.width.value_or(info.width), limits);
  r.height = checked_size("height", request.height.value_or(info.height), limits);
  plan.width = *r.width;
  plan.height = *r.height;

  plan.fps = request.fps.value_or(info.fps);
  if (plan.fps.num <= 0 || plan.fps.den <= 0 || plan.fps.value() > 240) {
    bad_value("fps", "more than 0 and at most 240",
              std::to_string(plan.fps.num) + "/" + std::to_string(plan.fps.den));
  }
  r.fps = plan.fps;
  plan.frames = planned_frames(request, info, limits, plan.fps);
  r.frames = plan.frames;
  r.seconds.reset();

  r.steps = checked_int("steps", request.steps.value_or(info.steps), 1, limits.max_steps);
  r.cfg_scale = checked_real("cfg-scale", request.cfg_scale.value_or(info.cfg_scale), 0, 1000);
  r.guidance_rescale = checked_real("guidance-rescale", request.guidance_rescale.value_or(0), 0, 1);
  r.eta = checked_real("eta", request.eta.value_or(0), 0, 1);
  if (request.strength) r.strength = checked_real("strength", *request.strength, 0, 1);
  if (request.clip_skip) r.clip_skip = checked_int("clip-skip", *request.clip_skip, 0, 100);
  if (request.decode_chunk) r.decode_chunk = checked_int("decode-chunk", *request.decode_chunk, 1, 100000);
  if (!request.seed || *request.seed < 0) r.seed = random_seed();
  plan.sampler_class = scheduler_class(request.sampler, limits);
  return plan;
}

}  // namespace t2v::models
