// SPDX-License-Identifier: Apache-2.0
// `t2v --prompt`: a video from a prompt.
#include <string>

#include "cli/preflight.hpp"
#include "commands/inspect.hpp"
#include "commands/job.hpp"
#include "commands/plan_report.hpp"
#include "commands/settings.hpp"
#include "commands/tools.hpp"
#include "core/log.hpp"

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

}  // namespace

int generate(const Invocation& asked, const Tools& tools) {
  const Invocation invocation = with_recorded_settings(asked);
  const auto model = open_checked_model(invocation, tools);
  const Plan plan = model->plan(prepared_request(invocation));
  if (invocation.run.dry_run) {
    print_plan(invocation, plan, model->info());
    return 0;
  }
  log::info("{}: seed {}, {}x{}, {} frames at {} fps, {} steps of {}, {} {}", model->info().name,
            plan.request.seed.value_or(0), plan.width, plan.height, plan.frames, plan.fps.value(),
            plan.request.steps.value_or(0), plan.sampler_class, plan.device, plan.dtype);
  ConsoleProgress progress(invocation.run);
  LoadedModel loaded(*model);
  try {
    run_job(invocation, plan, loaded, progress);
  } catch (...) {
    progress.clear_bar();
    throw;
  }
  return 0;
}

}  // namespace t2v::commands
