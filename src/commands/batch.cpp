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
    const Invocation& asked = job.invocation;
    if (invocation_.run.dry_run) {
      const Plan plan = model_for(asked).plan(prepared_request(asked));
      report({{"job", job.number}, {"status", "planned"}, {"plan", plan_json({asked, plan, model_->info()})}});
      return;
    }
    if (journal_.is_done(job.id, asked.output.path)) return skip(job);
    std::unique_ptr<Claim> claim;
    if (!journal_.try_claim(job.id, claim)) {
      ++elsewhere_;
      report({{"job", job.number}, {"status", "elsewhere"}, {"output", asked.output.path}});
      return;
    }
    if (journal_.is_done(job.id, asked.output.path)) return skip(job);  // finished between look and claim
    run_claimed(job);
  }

  void run_claimed(const Job& job) {
    Invocation asked = job.invocation;
    const bool is_again = journal_.was_begun(job.id);
    // What an earlier try left under the name is ours, also where its record came no more.
    if (is_again) asked.output.overwrite = true;
    if (cli::preflight(asked) == cli::Verdict::skip) return skip(job);
    const Model& model = model_for(asked);
    Request request = prepared_request(asked);
    std::optional<UnfinishedRun> unfinished;
    if (is_again && asked.output.path != "-")
      unfinished = earlier_try(kept_path(asked, 0, "state"), asked, model.info());
    if (unfinished) request.seed = seed_of(*unfinished);
    const Plan plan = model.plan(request);
    log::info("job {}: seed {}, {}", job.number, plan.request.seed.value_or(0), asked.output.path);
    if (unfinished) log::info("job {}: continued after step {}", job.number, unfinished->state.steps_done);
    if (!is_again) journal_.record_begun(job.id, asked.output.path);
    progress_.restart();
    run_job(asked, plan, *loaded_, progress_, {.latents = {}, .unfinished = unfinished ? &*unfinished : nullptr});
    journal_.record_done(job.id, asked.output.path);
    ++done_;
    report({{"job", job.number},
            {"status", "done"},
            {"output", asked.output.path},
            {"seed", plan.request.seed.value_or(0)},
            {"seconds", progress_.total_seconds()}});
  }

  void skip(const Job& job) {
    ++skipped_;
    report({{"job", job.number}, {"status", "skipped"}, {"output", job.invocation.output.path}});
  }

  const Model& model_for(const Invocation& asked) {
    const std::string key = load_key(asked.load);
    if (!model_ || key != key_) {
      forget_model();
      model_ = open_checked_model(asked, tools_);
      loaded_ = std::make_unique<LoadedModel>(*model_);
      key_ = key;
    }
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
