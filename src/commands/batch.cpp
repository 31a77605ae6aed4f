// SPDX-License-Identifier: Apache-2.0
// `t2v batch`: many videos from one loaded model. A failed job does not stop the others; standard
// output gets one JSON object a job.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/preflight.hpp"
#include "cli/streams.hpp"
#include "commands/failures.hpp"
#include "commands/first_frame.hpp"
#include "commands/job.hpp"
#include "commands/jobs.hpp"
#include "commands/journal.hpp"
#include "commands/kept_run.hpp"
#include "commands/kept_work.hpp"
#include "commands/plan_report.hpp"
#include "commands/settings.hpp"
#include "commands/signals.hpp"
#include "commands/tools.hpp"
#include "core/log.hpp"
#include "engine/load_memory.hpp"

namespace t2v::commands {

namespace {

using io::Json;

/// Everything that decides which weights are in memory.
std::string load_key(const LoadOptions& load) {
  std::string key;
  for (const std::string& part : {load.model, load.vae.string(), load.text_encoder.string(), load.unet.string(),
                                  load.motion_module.string(), load.device, load.dtype, std::to_string(load.threads)}) {
    key += part + '\0';
  }
  for (const auto& [path, weight] : load.loras) key += path + '\0' + std::to_string(weight) + '\0';
  return key;
}

class Batch {
 public:
  Batch(const Invocation& invocation, const Tools& tools)
      : invocation_(invocation),
        tools_(tools),
        journal_(invocation.operands.front(), invocation.run.resume),
        progress_(invocation.run) {}

  int run() {
    const auto jobs = read_jobs(invocation_);
    for (const Job& job : jobs) {
      run_isolated(job);
      engine::return_freed_pages();  // jobs of many sizes leave holes in the heap, which would add up over a night
    }
    log::info("batch: {} done, {} skipped, {} failed, {} left to other processes", done_, skipped_, failed_,
              elsewhere_);
    if (failed_ == 0) return 0;
    throw Error(
        ErrorCode::batch_partial,
        "batch: wanted " + std::to_string(jobs.size()) + " jobs done, got " + std::to_string(failed_) + " failed",
        "standard output has one line a job; --resume runs only what is not done");
  }

 private:
  void run_isolated(const Job& job) {
    try {
      throw_if_stopped();
      if (job.problem) throw Error(*job.problem);
      run_one(job);
    } catch (...) {
      progress_.clear_bar();
      const Error failure = current_failure();
      const bool ends_batch = failure.code() == ErrorCode::interrupted || failure.code() == ErrorCode::terminated ||
                              failure.code() == ErrorCode::pipe_closed;
      if (ends_batch) throw;
      ++failed_;
      log::error("job {}: {}", job.number, cli::one_line(failure.what()));
      Json record{{"job", job.number},
                  {"status", "failed"},
                  {"exit_code", exit_code(failure.code())},
                  {"error", failure.what()}};
      if (!failure.hint().empty()) record["hint"] = failure.hint();
      report(record);
      // After a failure in the middle of a run the network's state is not trusted.
      if (failure.code() == ErrorCode::no_resource || failure.code() == ErrorCode::internal) forget_model();
    }
  }

  void run_one(const Job& job) {
    const std::string& output = job.invocation.output.path;
    if (journal_.is_done(job.id, output)) return skip(job);
    if (invocation_.run.dry_run) return make(job);
    std::unique_ptr<Claim> claim;
    if (!journal_.try_claim(job.id, claim)) {
      ++elsewhere_;
      report({{"job", job.number}, {"status", "elsewhere"}, {"output", output}});
      return;
    }
    if (journal_.is_done(job.id, output)) return skip(job);  // finished between look and claim
    make(job);
  }

  /// The video, or in a dry run its plan.
  void make(const Job& job) {
    Invocation asked = with_recorded_settings(job.invocation);
    // What an earlier try left under the name is ours, also where its record came no more.
    if (journal_.was_begun(job.id)) asked.output.overwrite = true;
    if (cli::preflight(asked) == cli::Verdict::skip) return skip(job);
    const Invocation video = without_first_frame(asked);
    const Model& model = model_for(video);
    Request request = prepared_request(video);
    std::optional<UnfinishedRun> unfinished = unfinished_run(job, asked);
    if (unfinished) request.seed = seed_of(*unfinished);
    // The video's model stays in memory beside the image's: it is the one that all jobs share.
    std::optional<FirstFrame> image;
    if (makes_first_frame(asked)) {
      image.emplace(asked, model, request, tools_);
      asked = image->recorded(std::move(asked));
      if (unfinished && !has_same_first_frame(*unfinished, image->info())) {
        log::warn("{}: its first frame is another model's; the job begins anew", unfinished->file.string());
        unfinished.reset();
      }
    }
    const Plan plan = image ? image->video_plan() : model.plan(request);
    warn_of_unused_eta(plan);
    if (invocation_.run.dry_run) return report_plan(job, {asked, plan, model.info()}, image ? &*image : nullptr);
    log::info("job {}: seed {}, {}", job.number, plan.request.seed.value_or(0), asked.output.path);
    if (unfinished) log::info("job {}: continued after step {}", job.number, unfinished->state.steps_done);
    if (!journal_.was_begun(job.id)) journal_.record_begun(job.id, asked.output.path);
    progress_.restart();
    if (image) {
      image->make(progress_);
      request.image = image->file();
    }
    run_job(asked, image ? model.plan(request) : plan, *loaded_, progress_,
            {.latents = {}, .unfinished = unfinished ? &*unfinished : nullptr});
    journal_.record_done(job.id, asked.output.path);
    report_done(job, plan.request.seed.value_or(0));
  }

  std::optional<UnfinishedRun> unfinished_run(const Job& job, const Invocation& asked) const {
    const bool has_name = !asked.output.path.empty() && asked.output.path != "-";
    if (!has_name || !journal_.was_begun(job.id)) return std::nullopt;
    return earlier_try(kept_path(asked, 0, "state"), asked, model_->info());
  }

  void report_done(const Job& job, int64_t seed) {
    ++done_;
    report({{"job", job.number},
            {"status", "done"},
            {"output", job.invocation.output.path},
            {"seed", seed},
            {"seconds", progress_.total_seconds()}});
  }

  static void report_plan(const Job& job, const PlannedRun& video, const FirstFrame* image) {
    Json plan;
    if (image) {
      const Invocation image_invocation = image->invocation();
      const PlannedRun first{image_invocation, image->plan(), image->info()};
      plan = plan_json(video, &first);
    } else {
      plan = plan_json(video);
    }
    report({{"job", job.number}, {"status", "planned"}, {"plan", plan}});
  }

  void skip(const Job& job) {
    ++skipped_;
    report({{"job", job.number}, {"status", "skipped"}, {"output", job.invocation.output.path}});
  }

  const Model& model_for(const Invocation& asked) {
    const std::string key = load_key(asked.load);
    if (!model_ || key != key_) {
      forget_model();
      model_ = tools_.open_model(asked.load);
      loaded_ = std::make_unique<LoadedModel>(*model_);
      key_ = key;
    }
    warn_of_other_content(asked, model_->info());  // each job may have a record of its own
    return *model_;
  }

  void forget_model() {
    loaded_.reset();
    model_.reset();
  }

  static void report(const Json& record) { cli::print_data(settings_text(record) + "\n"); }

  const Invocation& invocation_;
  const Tools& tools_;
  Journal journal_;
  ConsoleProgress progress_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<LoadedModel> loaded_;
  std::string key_;
  int64_t done_ = 0, skipped_ = 0, failed_ = 0, elsewhere_ = 0;
};

}  // namespace

int batch(const Invocation& invocation, const Tools& tools) { return Batch(invocation, tools).run(); }

}  // namespace t2v::commands
