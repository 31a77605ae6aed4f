// SPDX-License-Identifier: Apache-2.0
// `t2v --prompt`: a video from a prompt.
#include <optional>
#include <string>
#include <utility>

#include "cli/preflight.hpp"
#include "commands/first_frame.hpp"
#include "commands/job.hpp"
#include "commands/kept_run.hpp"
#include "commands/plan_report.hpp"
#include "commands/tools.hpp"
#include "core/log.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

namespace {

/// The command line with what its --resume or --from names, checked as the command line was.
Invocation with_earlier_run(const Invocation& asked, const std::optional<UnfinishedRun>& unfinished) {
  if (!unfinished && asked.run.from.empty()) return asked;
  Invocation merged = unfinished ? resumed_invocation(asked, *unfinished) : with_recorded_settings(asked);
  if (cli::preflight(merged) == cli::Verdict::skip) merged.output.skip_existing = true;
  return merged;
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
  Invocation invocation = with_earlier_run(asked, unfinished);
  Invocation video = without_first_frame(invocation);
  video.load.keep_networks = false;
  const auto model = open_checked_model(video, tools);
  if (unfinished) require_same_model(*unfinished, model->info());
  ConsoleProgress progress(invocation.run);
  Request request = prepared_request(video);
  std::optional<FirstFrame> first_frame;
  if (makes_first_frame(invocation)) {
    first_frame.emplace(invocation, *model, request, tools);
    if (unfinished) require_same_first_frame(*unfinished, first_frame->info());
    invocation = first_frame->recorded(std::move(invocation));
    if (!invocation.run.dry_run) {
      first_frame->make(progress);
      request.image = first_frame->file();
    }
  }
  const bool has_no_image = first_frame && invocation.run.dry_run;
  const Plan plan = has_no_image ? first_frame->video_plan() : model->plan(request);
  warn_of_unused_eta(plan);
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
