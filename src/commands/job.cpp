// SPDX-License-Identifier: Apache-2.0
#include "commands/job.hpp"

#include <chrono>
#include <filesystem>
#include <random>

#include "cli/preflight.hpp"
#include "commands/failures.hpp"
#include "commands/settings.hpp"
#include "commands/signals.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "engine/latents.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

namespace fs = std::filesystem;

namespace {

/// Adds up the time that the run spent in its sink: what encoding costs beyond what it hides behind
/// decoding.
class TimedSink final : public FrameSink {
 public:
  explicit TimedSink(std::unique_ptr<FrameSink> inner) : inner_(std::move(inner)) {}
  void write(const FrameView& frame) override {
    throw_if_stopped();
    const auto start = Clock::now();
    inner_->write(frame);
    seconds_ += since(start);
    ++frames_;
  }
  void finish() override {
    const auto start = Clock::now();
    inner_->finish();
    seconds_ += since(start);
  }
  double seconds() const { return seconds_; }
  int64_t frames() const { return frames_; }

 private:
  using Clock = std::chrono::steady_clock;
  static double since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  std::unique_ptr<FrameSink> inner_;
  double seconds_ = 0;
  int64_t frames_ = 0;
};

VideoSpec video_spec(const cli::OutputOptions& output, const Plan& plan, std::string metadata) {
  return {.width = plan.width,
          .height = plan.height,
          .fps = plan.fps,
          .format = output.format,
          .codec = output.codec,
          .pix_fmt = output.pix_fmt,
          .preset = output.preset,
          .crf = static_cast<int>(output.crf),
          .overwrite = output.overwrite,
          .metadata = output.no_metadata ? std::string{} : std::move(metadata),
          .frames = plan.frames};
}

std::string shell_word(const std::string& word) {
  if (word.find_first_not_of(
          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./%:=+,@") ==
          std::string::npos &&
      !word.empty()) {
    return word;
  }
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

std::string finishing_command(const Invocation& invocation, const fs::path& latents) {
  std::string command =
      "t2v decode " + shell_word(latents.string()) + " -o " + shell_word(invocation.output.path);
  if (!invocation.load.model.empty()) command += " --model " + shell_word(invocation.load.model);
  return command;
}

/// Latents that survive a failed second half. The file of a run that did not ask for one is removed
/// after success.
class SavedLatents {
 public:
  SavedLatents(const Invocation& invocation, const Latents& latents, int64_t seed,
               double seconds_so_far) {
    constexpr double kWorthKeeping = 60.0;
    is_asked_ = !invocation.output.save_latents.empty();
    if (is_asked_) {
      path_ = invocation.output.save_latents;
    } else if (seconds_so_far > kWorthKeeping) {
      path_ = invocation.output.path == "-" ? "t2v-" + std::to_string(seed) + ".latents.safetensors"
                                            : invocation.output.path + ".latents.safetensors";
    } else {
      return;
    }
    engine::save_latents(path_, latents);
    log::debug("latents: {}", path_.string());
  }
  const fs::path& path() const { return path_; }
  /// Nobody will need them: the video is there, or its reader left.
  void drop_if_unasked() const {
    std::error_code ignored;
    if (!is_asked_ && !path_.empty()) fs::remove(path_, ignored);
  }

 private:
  fs::path path_;
  bool is_asked_ = false;
};

}  // namespace

Request prepared_request(const Invocation& invocation) {
  Request request = invocation.request;
  for (std::string* text :
       {&request.prompt, request.negative_prompt ? &*request.negative_prompt : nullptr}) {
    if (!text) continue;
    std::string clean = replace_invalid_utf8(*text);
    if (clean != *text)
      log::warn("prompt: wanted UTF-8, got other bytes; they are replaced by U+FFFD");
    *text = std::move(clean);
  }
  // 32 bits: easy to type again
  if (!request.seed) request.seed = static_cast<int64_t>(std::random_device{}());
  return request;
}

std::unique_ptr<Model> open_checked_model(const Invocation& invocation, const Tools& tools) {
  auto model = tools.open_model(invocation.load);
  if (!invocation.settings_hash.empty() && invocation.settings_hash != model->info().content_hash) {
    log::warn(
        "{}: its content differs from the model that made the recorded run; the result will too",
        model->info().name);
  }
  return model;
}

void run_job(const Invocation& invocation, const Plan& plan, LoadedModel& loaded,
             ConsoleProgress& progress, std::optional<Latents> latents) {
  const std::string settings = settings_text(settings_of(invocation, plan, loaded.model().info()));
  TimedSink sink(open_sink(invocation.output.path, video_spec(invocation.output, plan, settings)));
  const int64_t seed = plan.request.seed.value_or(0);
  Pipeline& pipeline = loaded.pipeline(progress);
  throw_if_stopped();
  const bool is_whole_run = !latents;
  if (is_whole_run) {
    latents = pipeline.denoise(plan, progress);
    latents->settings = settings;
  }
  std::optional<SavedLatents> saved;
  if (is_whole_run) saved.emplace(invocation, *latents, seed, progress.total_seconds());
  try {
    pipeline.decode(*latents, plan, sink, progress);
    throw_if_stopped();
    progress.begin(Stage::encode, 0);
    sink.finish();
    progress.end(Stage::encode, sink.seconds());
  } catch (...) {
    progress.clear_bar();
    const Error failure = current_failure();
    if (saved && failure.code() == ErrorCode::pipe_closed) saved->drop_if_unasked();
    if (!saved || saved->path().empty() || failure.code() == ErrorCode::pipe_closed) throw;
    throw Error(failure.code(), failure.what(),
                "the denoised latents are safe; finish with: " +
                    finishing_command(invocation, saved->path()));
  }
  if (saved) saved->drop_if_unasked();
  progress.done({.output = invocation.output.path, .seed = seed, .frames = sink.frames()});
}

}  // namespace t2v::commands
