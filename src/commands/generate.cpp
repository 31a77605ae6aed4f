// SPDX-License-Identifier: Apache-2.0
// `t2v --prompt`: a video from a prompt.
#include <optional>
#include <string>
#include <utility>

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

/// An output that can't be written ends the run before an image is made for it.
void try_output(const Invocation& invocation, const Plan& plan) {
  if (invocation.output.path != "-") open_sink(invocation.output.path, video_spec(invocation.output, plan, {}));
}

void print_plans(const Invocation& invocation, const Plan& plan, const ModelInfo& model, const FirstFrame* image) {
  if (!image) return print_plan({invocation, plan, model});
  const Invocation image_invocation = image->invocation();
  const PlannedRun first{image_invocation, image->plan(), image->info()};
  print_plan({invocation, plan, model}, &first);
}

}  // namespace

int generate(const Invocation& asked, const Tools& tools) {
  std::optional<UnfinishedRun> unfinished;
  if (!asked.run.resume_from.empty()) unfinished = read_unfinished_run(asked.run.resume_from);
  Invocation invocation = unfinished ? with_unfinished_run(asked, *unfinished) : with_recorded_settings(asked);
  const bool has_first_frame = makes_first_frame(invocation);
  Invocation video = has_first_frame ? without_first_frame(invocation) : invocation;
  video.load.keep_networks = false;
  const auto model = open_checked_model(video, tools);
  if (unfinished) require_same_model(*unfinished, model->info());
  ConsoleProgress progress(invocation.run);
  Request request = prepared_request(video);
  std::optional<FirstFrame> first_frame;
  if (has_first_frame) {
    first_frame.emplace(invocation, *model, request, tools);
    if (unfinished) require_same_first_frame(*unfinished, first_frame->info());
    invocation = first_frame->recorded(std::move(invocation));
    if (!invocation.run.dry_run) {
      try_output(invocation, first_frame->video_plan());
      first_frame->make(progress);
      request.image = first_frame->file();
    }
  }
  const bool has_no_image = first_frame && invocation.run.dry_run;
  const Plan plan = has_no_image ? first_frame->video_plan() : model->plan(request);
  if (invocation.run.dry_run) {
    print_plans(invocation, plan, model->info(), first_frame ? &*first_frame : nullptr);
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
