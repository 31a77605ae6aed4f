// SPDX-License-Identifier: Apache-2.0
// One video: from a plan to a finished file. Used by generate, batch and decode.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "commands/kept_run.hpp"
#include "commands/progress.hpp"
#include "commands/tools.hpp"
#include "t2v/frame_sink.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::commands {

/// The request of an invocation, ready for Model::plan: text is UTF-8, the seed is drawn.
Request prepared_request(const Invocation& invocation);

/// What a plan writes, and how. `metadata`: the JSON of the run, dropped when the options say so.
VideoSpec video_spec(const cli::OutputOptions& output, const Plan& plan, std::string metadata);

/// The settings of the file that --from names, below the invocation's own; the invocation itself without --from.
Invocation with_recorded_settings(const Invocation& invocation);

/// Warns when the content of the model or of its LoRAs is not the one that recorded settings name.
void warn_of_other_content(const Invocation& invocation, const ModelInfo& model);
/// Opens the model, with that warning.
std::unique_ptr<Model> open_checked_model(const Invocation& invocation, const Tools& tools);

/// Warns of --eta where the sampler has no such parameter.
void warn_of_unused_eta(const Plan& plan);

/// A model whose weights are loaded at most once, when first needed.
class LoadedModel {
 public:
  explicit LoadedModel(const Model& model, Parts parts = Parts::all) : model_(model), parts_(parts) {}
  Pipeline& pipeline(Progress& progress) {
    if (!pipeline_) pipeline_ = model_.load(progress, parts_);
    return *pipeline_;
  }
  bool is_loaded() const { return pipeline_ != nullptr; }
  const Model& model() const { return model_; }

 private:
  const Model& model_;
  Parts parts_;
  std::unique_ptr<Pipeline> pipeline_;
};

/// Where a run begins when not at the start; at most one of both.
struct JobStart {
  std::optional<Latents> latents;             ///< decode and encode only
  const UnfinishedRun* unfinished = nullptr;  ///< continue from this state
};

/// Runs a plan to a finished output. State and latents go to disk as --checkpoint-every, --save-latents and
/// --keep-latents ask, and unasked when the run has taken a minute; a failure names the file and the command that
/// continues from it. Files that nobody asked for are gone after success.
void run_job(const Invocation& invocation, const Plan& plan, LoadedModel& loaded, ConsoleProgress& progress,
             JobStart start = {});

}  // namespace t2v::commands
