// SPDX-License-Identifier: Apache-2.0
// `t2v doctor`: one line a check; exit 0 when everything that this machine claims to have works.
#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "cli/devices.hpp"
#include "cli/streams.hpp"
#include "commands/bench_frames.hpp"
#include "commands/failures.hpp"
#include "commands/job.hpp"
#include "commands/settings.hpp"
#include "commands/tools.hpp"
#include "core/text.hpp"
#include "engine/cuda_attention.hpp"
#include "engine/cuda_plugin.hpp"
#include "io/checkpoint.hpp"
#include "media/compare.hpp"
#include "media/encoder_list.hpp"
#include "t2v/version.hpp"

namespace t2v::commands {

namespace {

using io::Json;

/// Keeps the frames of a short clip.
class MemorySink final : public FrameSink {
 public:
  void write(const FrameView& frame) override {
    width_ = frame.width;
    height_ = frame.height;
    frames_.emplace_back(frame.rgb.begin(), frame.rgb.end());
  }
  void finish() override {}
  size_t count() const { return frames_.size(); }
  FrameView frame(size_t i) const { return {.width = width_, .height = height_, .rgb = frames_[i]}; }

 private:
  int64_t width_ = 0, height_ = 0;
  std::vector<std::vector<uint8_t>> frames_;
};

class Report {
 public:
  explicit Report(bool json) : json_(json) {}

  /// Runs one check; what it throws is its result.
  void check(const std::string& name, const std::function<std::string()>& run) {
    Json row{{"check", name}, {"ok", true}};
    try {
      row["result"] = run();
    } catch (...) {
      const Error failure = current_failure();
      if (failure.code() == ErrorCode::interrupted || failure.code() == ErrorCode::terminated) throw;
      row["ok"] = false;
      row["result"] = failure.what();
      if (!failure.hint().empty()) row["hint"] = failure.hint();
      worst_ = worst_ == 0 ? exit_code(failure.code()) : worst_;
    }
    if (!json_) {
      cli::print_data(
          (row["ok"].get<bool>() ? "ok    " : "FAIL  ") + name + ": " +
          cli::one_line(row["result"].get<std::string>()) + "\n" +
          (row.contains("hint") ? "      hint: " + cli::one_line(row["hint"].get<std::string>()) + "\n" : ""));
    }
    rows_.push_back(std::move(row));
  }
  int finish() const {
    if (json_) cli::print_data(settings_text({{"t2v", T2V_VERSION}, {"ok", worst_ == 0}, {"checks", rows_}}) + "\n");
    return worst_;
  }

 private:
  bool json_;
  int worst_ = 0;
  Json rows_ = Json::array();
};

constexpr int64_t kSeed = 7;

/// A few steps of the model with one seed, all its frames.
MemorySink short_clip(const Invocation& invocation, const Tools& tools, const std::string& device,
                      const std::string& dtype) {
  LoadOptions load = invocation.load;
  load.device = device;
  load.dtype = dtype;
  const auto model = tools.open_model(load);
  Request request;
  request.prompt = "a red circle moving to the right";
  request.seed = kSeed;
  constexpr int64_t kFewSteps = 4;
  request.steps = kFewSteps;
  const Plan plan = model->plan(request);
  cli::RunOptions silent;
  silent.progress = "none";
  ConsoleProgress progress(silent);
  const auto pipeline = model->load(progress);
  MemorySink sink;
  pipeline->decode(pipeline->denoise(plan, progress), plan, sink, progress);
  if (static_cast<int64_t>(sink.count()) != plan.frames) {
    throw Error(ErrorCode::internal,
                "doctor: wanted " + std::to_string(plan.frames) + " frames, got " + std::to_string(sink.count()));
  }
  return sink;
}

std::string run_model(const Invocation& invocation, const Tools& tools) {
  cli::RunOptions silent;
  silent.progress = "none";
  const ConsoleProgress clock(silent);
  const MemorySink clip = short_clip(invocation, tools, "cpu", "fp32");
  return std::to_string(clip.count()) + " frames in " + human_seconds(clock.total_seconds());
}

/// The same noise on both devices: the same video up to rounding.
std::string cpu_against_cuda(const Invocation& invocation, const Tools& tools) {
  const MemorySink cpu = short_clip(invocation, tools, "cpu", "fp32");
  const MemorySink cuda = short_clip(invocation, tools, "cuda", "fp32");
  double worst = INFINITY;
  for (size_t i = 0; i < cpu.count(); ++i) {
    worst = std::min(worst, media::compare_frames(cpu.frame(i), cuda.frame(i)).psnr);
  }
  constexpr double kSameVideo = 40.0;  // fp32 differs by rounding; a wrong kernel falls below 20 dB
  if (worst < kSameVideo) {
    throw Error(ErrorCode::numbers, "CPU against CUDA: wanted at least 40 dB, got " + std::to_string(worst));
  }
  return std::isfinite(worst) ? "worst frame " + std::to_string(worst) + " dB" : "equal frames";
}

std::string every_device() {
  std::string text = cli::device_list();
  while (text.ends_with('\n')) text.pop_back();
  std::ranges::replace(text, '\n', ';');
  return text;
}

std::string every_encoder() {
  const media::EncoderList list = media::list_encoders();
  std::string text = list.here.empty() ? "none" : join(list.here, " ");
  if (!list.missing.empty()) text += "; not in this FFmpeg: " + join(list.missing, " ");
  return text;
}

}  // namespace

int doctor(const Invocation& invocation, const Tools& tools) {
  Report report(invocation.run.json);
  report.check("t2v", [] { return std::string(T2V_VERSION); });
  report.check("devices", every_device);
  report.check("models", [] {
    std::vector<std::string> names;
    for (const auto& path : io::find_models()) names.push_back(path.filename().string());
    return names.empty() ? std::string("none found") : join(names, " ");
  });
  report.check("attention on cuda", engine::attention_report);
  report.check("video encoders", every_encoder);
  for (const char* format : {"mp4", "webm", "gif", "webp"}) {
    report.check(std::string("writes ") + format, [&] { return test_encode(format); });
  }
  report.check("model on cpu", [&] { return run_model(invocation, tools); });
  if (invocation.load.device != "cpu" && engine::cuda_likely()) {
    report.check("cpu against cuda", [&] { return cpu_against_cuda(invocation, tools); });
  }
  return report.finish();
}

}  // namespace t2v::commands
