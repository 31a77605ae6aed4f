// SPDX-License-Identifier: Apache-2.0
// Text -> image -> video (Emu Video, arXiv 2311.10709): --first-frame-model makes the image that the video model sets
// in motion. Two runs of one command; the record of the video holds the text, not the image, so that --from makes both
// again.
#pragma once

#include <filesystem>
#include <memory>

#include "cli/invocation.hpp"
#include "commands/progress.hpp"
#include "commands/tools.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::commands {

bool makes_first_frame(const Invocation& invocation);

/// The part of the command that is about the video: of one with a first frame, text and LoRAs are the image model's.
Invocation without_first_frame(Invocation invocation);

class FirstFrame {
 public:
  /// Opens the image model and plans an image of the video's shape, as many pixels as the model was trained on.
  /// `video`: the request as the video model gets it, without the image. Error{usage} or Error{unsupported} when one of
  /// the two models is not made for its part.
  FirstFrame(const Invocation& invocation, const Model& video_model, const Request& video, const Tools& tools);
  ~FirstFrame();
  FirstFrame(const FirstFrame&) = delete;
  FirstFrame& operator=(const FirstFrame&) = delete;

  /// Writes file(), once the video's output is known to be writable. The image model's memory is free again afterwards.
  void make(ConsoleProgress& progress);
  /// --keep-first-frame, or a temporary PNG that goes with this object.
  const std::filesystem::path& file() const { return file_; }
  /// With what made the image in its record.
  Invocation recorded(Invocation invocation) const;

  Invocation invocation() const;  ///< of the image; its output is what stays
  const Plan& plan() const { return plan_; }
  const Plan& video_plan() const { return video_plan_; }  ///< without the image
  const ModelInfo& info() const { return model_->info(); }

 private:
  Invocation invocation_;
  cli::OutputOptions video_output_;
  std::filesystem::path file_, temporary_folder_;
  std::unique_ptr<Model> model_;
  Plan plan_, video_plan_;
};

}  // namespace t2v::commands
