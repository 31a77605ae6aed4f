// SPDX-License-Identifier: Apache-2.0
#include "commands/first_frame.hpp"

#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
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

int64_t rounded(double pixels) { return std::max<int64_t>(1, std::llround(pixels / kSizeMultiple)) * kSizeMultiple; }

bool takes(const ModelInfo& info, std::string_view flag) {
  return std::ranges::find(info.accepts, flag) != info.accepts.end();
}

/// Only the image's own: what says how the video is sampled, shown and stored is left at the image model's defaults.
Invocation image_invocation(const Invocation& invocation) {
  const cli::FirstFrameOptions& own = invocation.first_frame;
  Invocation image;
  image.request.prompt = invocation.request.prompt;
  image.request.negative_prompt = invocation.request.negative_prompt;
  image.request.prompt_syntax = invocation.request.prompt_syntax;
  image.request.clip_skip = invocation.request.clip_skip;
  image.request.rng = invocation.request.rng;
  image.request.width = own.width;
  image.request.height = own.height;
  image.request.steps = own.steps;
  image.request.cfg_scale = own.cfg_scale;
  image.request.sampler = own.sampler;
  image.load = invocation.load;
  image.load.model = own.model;
  image.load.keep_networks = false;
  for (fs::path* part : {&image.load.vae, &image.load.text_encoder, &image.load.unet, &image.load.motion_module})
    part->clear();
  image.output.format = "png";
  image.output.overwrite = true;
  image.output.no_metadata = invocation.output.no_metadata;
  image.run = invocation.run;
  image.settings_hash = invocation.first_frame_hash;
  image.lora_hashes = invocation.lora_hashes;
  return image;
}

/// A folder that nobody else can write to.
fs::path make_temporary_folder() {
  std::string name = (fs::temp_directory_path() / "t2v-first-frame-XXXXXX").string();
  if (!mkdtemp(name.data())) {
    throw Error(ErrorCode::output, "--first-frame-model: " + name + ": wanted a folder for the image, got none",
                "TMPDIR names the folder for temporary files; --keep-first-frame FILE needs none");
  }
  return name;
}

}  // namespace

bool makes_first_frame(const Invocation& invocation) { return !invocation.first_frame.model.empty(); }

Invocation without_first_frame(Invocation invocation) {
  if (!makes_first_frame(invocation)) return invocation;
  invocation.request.prompt.clear();
  invocation.request.negative_prompt.reset();
  invocation.request.prompt_syntax.clear();
  invocation.request.clip_skip.reset();
  invocation.load.loras.clear();
  invocation.lora_hashes.clear();
  return invocation;
}

FirstFrame::FirstFrame(const Invocation& invocation, const Model& video_model, const Request& video, const Tools& tools)
    : invocation_(image_invocation(invocation)), video_output_(invocation.output), file_(invocation.first_frame.keep) {
  if (const ModelInfo& info = video_model.info(); !takes(info, "image")) {
    throw Error(ErrorCode::unsupported,
                "--first-frame-model: not taken by " + info.pipeline_class + " (" + info.name + ")",
                "it makes videos from text by itself");
  }
  Request without_image = video;
  without_image.decode_only = true;
  video_plan_ = video_model.plan(without_image);
  model_ = open_checked_model(invocation_, tools);
  if (const ModelInfo& info = model_->info(); !takes(info, "negative-prompt")) {
    throw Error(ErrorCode::usage, "--first-frame-model: wanted a model that makes a picture from text, got " +
                                      info.name + " (" + info.pipeline_class + ")");
  }
  Request request = prepared_request(invocation_);
  request.seed = video.seed;
  if (!request.width) {
    const double aspect = static_cast<double>(video_plan_.width) / static_cast<double>(video_plan_.height);
    const double area = static_cast<double>(info().width) * static_cast<double>(info().height);
    request.width = rounded(std::sqrt(area * aspect));
    request.height = rounded(std::sqrt(area / aspect));
  }
  request.frames = 1;
  plan_ = model_->plan(request);
}

FirstFrame::~FirstFrame() {
  std::error_code ignored;
  if (!temporary_folder_.empty()) fs::remove_all(temporary_folder_, ignored);
}

Invocation FirstFrame::invocation() const {
  Invocation image = invocation_;
  image.output.path = file_.string();
  if (!temporary_folder_.empty()) image.output.path.clear();
  return image;
}

Invocation FirstFrame::recorded(Invocation invocation) const {
  invocation.first_frame_hash = info().content_hash;
  invocation.lora_hashes.clear();
  for (const LoraInfo& lora : info().loras) invocation.lora_hashes.push_back(lora.content_hash);
  return invocation;
}

void FirstFrame::make(ConsoleProgress& progress) {
  if (video_output_.path != "-") open_sink(video_output_.path, video_spec(video_output_, video_plan_, {}));
  if (file_.empty()) {
    temporary_folder_ = make_temporary_folder();
    file_ = temporary_folder_ / "image.png";
  }
  log::info("first frame: {}: seed {}, {}x{}, {} steps of {}", info().name, plan_.request.seed.value_or(0), plan_.width,
            plan_.height, plan_.request.steps.value_or(0), plan_.sampler_class);
  const io::Json settings = settings_of(invocation_, plan_, info());
  CheckedSink sink(open_sink(file_.string(), video_spec(invocation_.output, plan_, settings_text(settings))));
  const auto pipeline = model_->load(progress);
  throw_if_stopped();
  const Latents latents = pipeline->denoise(plan_, progress);
  pipeline->decode(latents, plan_, sink, progress);
  throw_if_stopped();
  sink.finish();
}

}  // namespace t2v::commands
