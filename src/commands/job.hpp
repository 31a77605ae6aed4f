// SPDX-License-Identifier: Apache-2.0
// One video: from a plan to a finished file. Used by generate, batch and decode.
#pragma once

#include <memory>
#include <optional>

#include "commands/progress.hpp"
#include "commands/tools.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::commands {

/// The request of an invocation, ready for Model::plan: text is UTF-8, the seed is drawn.
Request prepared_request(const Invocation& invocation);

/// Opens the model, warning when its content is not the one that recorded settings name.
std::unique_ptr<Model> open_checked_model(const Invocation& invocation, const Tools& tools);

/// A model whose weights are loaded at most once, when first needed.
class LoadedModel {
 public:
  explicit LoadedModel(const Model& model, Parts parts = Parts::all)
      : model_(model), parts_(parts) {}
  Pipeline& pipeline(Progress& progress) {
    if (!pipeline_) pipeline_ = model_.load(progress, parts_);
    return *pipeline_;
  }
  const Model& model() const { return model_; }

 private:
  const Model& model_;
  Parts parts_;
  std::unique_ptr<Pipeline> pipeline_;
};

/// Runs a plan to a finished output. With `latents` only the second half (decode, encode) runs. The
/// latents are on disk before they are decoded when --save-latents asks for it or the run has taken
/// a minute; a failure after that names the file and the command that finishes the run.
void run_job(const Invocation& invocation, const Plan& plan, LoadedModel& loaded,
             ConsoleProgress& progress, std::optional<Latents> latents = std::nullopt);

}  // namespace t2v::commands
