// SPDX-License-Identifier: Apache-2.0
#include "commands/first_frame.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <system_error>
#include <utility>

#include "commands/checked_sink.hpp"
#include "commands/job.hpp"
#include "commands/settings.hpp"
#include "commands/signals.hpp"
#include "core/log.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kSizeMultiple = 8;  // of every image model here

int64_t rounded(double pixels) {
  return std::max<int64_t>(1, std::llround(pixels / kSizeMultiple)) * kSizeMultiple;
}

/// Only the image's own: what says how the video is sampled, shown and stored is left at the image model's defaults.
Invocation image_invocation(const Invocation& invocation, const fs::path& file) {
  Invocation image;
  image.request.prompt = invocation.request.prompt;
  image.request.negative_prompt = invocation.request.negative_prompt;
  image.request.prompt_syntax = invocation.request.prompt_syntax;
  image.request.clip_skip = invocation.request.clip_skip;
  image.request.rng = invocation.request.rng;
  image.load = invocation.load;
  image.load.model = invocation.run.first_frame_model;
  for (fs::path* part : {&image.load.vae, &image.load.text_encoder, &image.load.unet, &image.load.motion_module})
    part->clear();
  image.output.path = file.string();
  image.output.format = "png";
  image.output.overwrite = true;
  image.output.no_metadata = invocation.output.no_metadata;
  image.run = invocation.run;
  image.run.first_frame_model.clear();
  image.run.keep_first_frame.clear();
  return image;
}

}  // namespace

bool makes_first_frame(const Invocation& invocation) { return !invocation.run.first_frame_model.empty(); }

Invocation without_first_frame(Invocation invocation) {
  invocation.request.prompt.clear();
  invocation.request.negative_prompt.reset();
  invocation.request.prompt_syntax.clear();
  invocation.request.clip_skip.reset();
  invocation.load.loras.clear();
  return invocation;
}

FirstFrame::FirstFrame(const Invocation& invocation, const Plan& video, const Tools& tools)
    : file_(invocation.run.keep_first_frame), is_kept_(!file_.empty()) {
  if (!is_kept_) {
    file_ = fs::temp_directory_path() / ("t2v-first-frame-" + std::to_string(getpid()) + ".png");
  } else if (!invocation.output.overwrite && fs::exists(file_)) {
    throw Error(ErrorCode::usage, "--keep-first-frame: " + file_.string() + ": wanted a new file, got one that is there",
                "--overwrite replaces it");
  }
  invocation_ = image_invocation(invocation, file_);
  model_ = open_checked_model(invocation_, tools);
  Request request = prepared_request(invocation_);
  request.seed = video.request.seed;
  const double aspect = static_cast<double>(video.width) / static_cast<double>(video.height);
  const double area = static_cast<double>(model_->info().width) * static_cast<double>(model_->info().height);
  request.width = rounded(std::sqrt(area * aspect));
  request.height = rounded(std::sqrt(area / aspect));
  request.frames = 1;
  plan_ = model_->plan(request);
}

FirstFrame::~FirstFrame() {
  std::error_code ignored;
  if (!is_kept_) fs::remove(file_, ignored);
}

void FirstFrame::make(ConsoleProgress& progress) {
  log::info("first frame: {}: seed {}, {}x{}, {} steps of {}", model_->info().name, plan_.request.seed.value_or(0),
            plan_.width, plan_.height, plan_.request.steps.value_or(0), plan_.sampler_class);
  const io::Json settings = settings_of(invocation_, plan_, model_->info());
  CheckedSink sink(open_sink(file_.string(), video_spec(invocation_.output, plan_, settings_text(settings))));
  const auto pipeline = model_->load(progress);
  throw_if_stopped();
  const Latents latents = pipeline->denoise(plan_, progress);
  pipeline->decode(latents, plan_, sink, progress);
  throw_if_stopped();
  sink.finish();
}

}  // namespace t2v::commands
