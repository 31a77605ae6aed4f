// SPDX-License-Identifier: Apache-2.0
#include "commands/job.hpp"

#include <algorithm>
#include <filesystem>
#include <random>
#include <vector>

#include "cli/samplers.hpp"
#include "commands/checked_sink.hpp"
#include "commands/failures.hpp"
#include "commands/inspect.hpp"
#include "commands/keeping_progress.hpp"
#include "commands/kept_work.hpp"
#include "commands/model_watch.hpp"
#include "commands/settings.hpp"
#include "commands/signals.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "engine/available_memory.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

namespace fs = std::filesystem;
using io::Json;

namespace {

/// Told before the run, because the system may end a process that takes too much without a word.
void warn_of_short_memory(const Plan& plan) {
  const int64_t available = engine::available_bytes(plan.device);
  if (available <= 0 || plan.memory.total_peak <= available) return;
  log::warn(
      "the run needs about {} of memory on {}, {} are free; fewer --frames, a smaller --size, --decode-chunk 1 or "
      "--vae-tiling need less",
      human_bytes(plan.memory.total_peak), plan.device, human_bytes(available));
}

/// The first half of a run. A failure names the state that is on disk.
Latents denoise(Pipeline& pipeline, const Plan& plan, ConsoleProgress& progress, KeepingProgress& keeping) {
  try {
    return pipeline.denoise(plan, keeping);
  } catch (...) {
    progress.clear_bar();
    const Error failure = current_failure();
    // Numbers that went wrong would do so again.
    if (keeping.kept().empty() || failure.code() == ErrorCode::numbers) throw;
    throw Error(failure.code(), failure.what(),
                "the run is kept up to step " + std::to_string(keeping.kept_steps()) +
                    "; continue with: " + resume_command(keeping.kept()));
  }
}

/// The second half. A failure names the latents that are on disk.
void finish(Pipeline& pipeline, const Latents& latents, const Plan& plan, CheckedSink& sink, ConsoleProgress& progress,
            const Invocation& invocation, const SavedLatents* saved) {
  try {
    pipeline.decode(latents, plan, sink, progress);
    throw_if_stopped();
    progress.begin(Stage::encode, 0);
    sink.finish();
    progress.end(Stage::encode, sink.seconds());
  } catch (...) {
    progress.clear_bar();
    const Error failure = current_failure();
    const bool has_reader = failure.code() != ErrorCode::pipe_closed;
    if (saved && !has_reader) saved->drop_if_unasked();
    if (!saved || saved->path().empty() || !has_reader) throw;
    throw Error(failure.code(), failure.what(),
                "the denoised latents are safe; finish with: " + decode_command(invocation, saved->path()));
  }
}

/// The run's state has done its work. One that the user has put elsewhere stays.
void drop_state(const KeepingProgress& keeping, const fs::path& own, const UnfinishedRun* resumed) {
  std::error_code ignored;
  if (!keeping.kept().empty()) fs::remove(keeping.kept(), ignored);
  if (resumed && fs::equivalent(resumed->file, own, ignored)) fs::remove(own, ignored);
}

}  // namespace

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

Request prepared_request(const Invocation& invocation) {
  Request request = invocation.request;
  std::vector<std::string*> texts{&request.prompt};
  if (request.negative_prompt) texts.push_back(&*request.negative_prompt);
  for (auto& [frame, text] : request.prompt_at) texts.push_back(&text);
  for (std::string* text : texts) {
    std::string clean = replace_invalid_utf8(*text);
    if (clean != *text) log::warn("prompt: wanted UTF-8, got other bytes; they are replaced by U+FFFD");
    *text = std::move(clean);
  }
  // 32 bits: easy to type again
  if (!request.seed) request.seed = static_cast<int64_t>(std::random_device{}());
  return request;
}

Invocation with_recorded_settings(const Invocation& invocation) {
  if (invocation.run.from.empty()) return invocation;
  const std::string file = invocation.run.from.string();
  Invocation merged = with_settings(invocation, read_settings(file), file);
  merged.run.from.clear();
  return merged;
}

void warn_of_other_content(const Invocation& invocation, const ModelInfo& model) {
  if (!invocation.settings_hash.empty() && invocation.settings_hash != model.content_hash) {
    log::warn("{}: its content differs from the model that made the recorded run; the result will too", model.name);
  }
  const auto& loras = model.loras;
  for (size_t i = 0; i < std::min(loras.size(), invocation.lora_hashes.size()); ++i) {
    if (loras[i].content_hash == invocation.lora_hashes[i]) continue;
    log::warn("{}: its content differs from the LoRA of the recorded run; the result will too", loras[i].name);
  }
}

std::unique_ptr<Model> open_checked_model(const Invocation& invocation, const Tools& tools) {
  auto model = tools.open_model(invocation.load);
  warn_of_other_content(invocation, model->info());
  return model;
}

void warn_of_unused_eta(const Plan& plan) {
  if (plan.request.eta.value_or(0) == 0) return;
  std::vector<std::string> takers;
  for (const cli::SamplerName& sampler : cli::sampler_names()) {
    if (!sampler.takes_eta) continue;
    if (sampler.class_name == plan.sampler_class) return;
    takers.emplace_back(sampler.name);
  }
  log::warn("--eta: wanted a sampler that takes it ({}), got {}: it changes nothing", join(takers, ", "),
            plan.sampler_class);
}

void run_job(const Invocation& invocation, const Plan& plan, LoadedModel& loaded, ConsoleProgress& progress,
             JobStart start) {
  const Json settings = settings_of(invocation, plan, loaded.model().info());
  CheckedSink sink(open_sink(invocation.output.path, video_spec(invocation.output, plan, settings_text(settings))));
  const int64_t seed = plan.request.seed.value_or(0);
  const ModelWatch watch(invocation.load);
  if (!loaded.is_loaded()) warn_of_short_memory(plan);
  Pipeline& pipeline = loaded.pipeline(progress);
  throw_if_stopped();
  if (start.latents) {
    finish(pipeline, *start.latents, plan, sink, progress, invocation, nullptr);
  } else {
    const int64_t every = invocation.run.checkpoint_every;
    const fs::path state_file = kept_path(invocation, seed, "state");
    KeepingProgress keeping(progress,
                            {.file = state_file,
                             .about = [&] { return settings_text(about_run(invocation, plan, loaded.model().info())); },
                             .every = every,
                             .resume = start.unfinished ? &start.unfinished->state : nullptr});
    Latents latents = denoise(pipeline, plan, progress, keeping);
    latents.settings = settings_text(settings);
    const bool is_worth_it = every > 0 || start.unfinished || progress.total_seconds() > kSecondsWorthKeeping;
    const SavedLatents saved(invocation, latents, seed, is_worth_it);
    if (!saved.path().empty()) drop_state(keeping, state_file, start.unfinished);
    finish(pipeline, latents, plan, sink, progress, invocation, &saved);
    drop_state(keeping, state_file, start.unfinished);
    saved.drop_if_unasked();
  }
  watch.warn_if_changed();
  progress.done({.output = invocation.output.path, .seed = seed, .frames = sink.frames()});
}

}  // namespace t2v::commands
