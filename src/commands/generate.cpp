// SPDX-License-Identifier: Apache-2.0
// `t2v --prompt`: a video from a prompt.
#include <optional>
#include <string>

#include "cli/preflight.hpp"
#include "commands/first_frame.hpp"
#include "commands/inspect.hpp"
#include "commands/job.hpp"
#include "commands/kept_run.hpp"
#include "commands/plan_report.hpp"
#include "commands/settings.hpp"
#include "commands/tools.hpp"
#include "core/log.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

namespace {

Invocation with_recorded_settings(const Invocation& invocation) {
  if (invocation.run.from.empty()) return invocation;
  const std::string file = invocation.run.from.string();
  Invocation merged = with_settings(invocation, read_settings(file), file);
  merged.run.from.clear();
  if (cli::preflight(merged) == cli::Verdict::skip) merged.output.skip_existing = true;
  return merged;
}

Invocation with_unfinished_run(const Invocation& asked, const UnfinishedRun& run) {
  Invocation merged = resumed_invocation(asked, run);
  if (cli::preflight(merged) == cli::Verdict::skip) merged.output.skip_existing = true;
  return merged;
}

}  // namespace

int generate(const Invocation& asked, const Tools& tools) {
  std::optional<UnfinishedRun> unfinished;
  if (!asked.run.resume_from.empty()) unfinished = read_unfinished_run(asked.run.resume_from);
  const Invocation invocation = unfinished ? with_unfinished_run(asked, *unfinished) : with_recorded_settings(asked);
  const bool has_first_frame = makes_first_frame(invocation);
  const Invocation video = has_first_frame ? without_first_frame(invocation) : invocation;
  const auto model = open_checked_model(video, tools);
  if (unfinished) require_same_model(*unfinished, model->info());
  ConsoleProgress progress(invocation.run);
  Request request = prepared_request(video);
  std::optional<FirstFrame> first_frame;
  if (has_first_frame) {
    if (!request.image.empty()) {
      throw Error(ErrorCode::usage, "--first-frame-model: wanted no --image beside it, got " + request.image.string());
    }
    request.decode_only = true;  // there is no image to check yet
    first_frame.emplace(invocation, model->plan(request), tools);
    if (!invocation.run.dry_run) {
      first_frame->make(progress);
      request.image = first_frame->file();
      request.decode_only = false;
    }
  }
  const Plan plan = model->plan(request);
  if (invocation.run.dry_run) {
    if (first_frame) print_plan(first_frame->invocation(), first_frame->plan(), first_frame->info());
    print_plan(invocation, plan, model->info());
    return 0;
  }
  log::info("{}: seed {}, {}x{}, {} frames at {} fps, {} steps of {}, {} {}", model->info().name,
            plan.request.seed.value_or(0), plan.width, plan.height, plan.frames, plan.fps.value(),
            plan.request.steps.value_or(0), plan.sampler_class, plan.device, plan.dtype);
  if (unfinished) {
    log::info("{}: continued after step {} of {}", asked.run.resume_from.string(), unfinished->state.steps_done,
              unfinished->state.steps);
    if (unfinished->about.value("device", plan.device) != plan.device)
      log::warn("the run began on another device: its last bits will differ");
  }
  LoadedModel loaded(*model);
  try {
    run_job(invocation, plan, loaded, progress, {.latents = {}, .unfinished = unfinished ? &*unfinished : nullptr});
  } catch (...) {
    progress.clear_bar();
    throw;
  }
  return 0;
}

}  // namespace t2v::commands
