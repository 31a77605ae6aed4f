// SPDX-License-Identifier: Apache-2.0
// `t2v decode`: the second half of a run, from its saved latents.
#include <filesystem>
#include <string>

#include "commands/first_frame.hpp"
#include "commands/job.hpp"
#include "commands/plan_report.hpp"
#include "commands/settings.hpp"
#include "commands/tools.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "engine/latents.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

namespace {

/// Latents that another program saved carry no settings: the size follows from their shape.
Request request_for_shape(Request request, const Model& model, const std::vector<int64_t>& shape) {
  const Plan usual = model.plan(request);
  const auto& wanted = usual.latent_shape;
  if (wanted.size() != shape.size() || wanted.size() < 4) return request;
  const auto scaled = [&](size_t from_end, int64_t pixels) {
    const int64_t usual_size = wanted[wanted.size() - from_end];
    return usual_size > 0 ? pixels / usual_size * shape[shape.size() - from_end] : pixels;
  };
  request.width = scaled(1, usual.width);
  request.height = scaled(2, usual.height);
  for (size_t axis = 1; axis + 2 < shape.size(); ++axis) {
    if (wanted[axis] == usual.frames && shape[axis] != wanted[axis]) request.frames = shape[axis];
  }
  return request;
}

/// A decoder looks at none of what denoising began from, and recorded files may be anywhere by now.
Request without_inputs(Request request) {
  for (std::filesystem::path* input : {&request.image, &request.end_image, &request.video, &request.init_latents})
    input->clear();
  request.strength.reset();
  request.decode_only = true;
  return request;
}

/// They stay in the record of the finished video.
void record_inputs(Plan& plan, const Request& request) {
  plan.request.image = request.image;
  plan.request.end_image = request.end_image;
  plan.request.video = request.video;
  plan.request.init_latents = request.init_latents;
  plan.request.strength = request.strength;
}

}  // namespace

int decode(const Invocation& asked, const Tools& tools) {
  const std::string file = asked.operands.front();
  Latents latents = engine::load_latents(file);
  const bool has_settings = !latents.settings.empty();
  const Invocation invocation = has_settings ? with_settings(asked, latents.settings, file) : asked;
  // What shaped the latents is nothing to the decoder.
  Invocation decoding = without_first_frame(invocation);
  decoding.load.loras.clear();
  const auto model = open_checked_model(decoding, tools);
  const Request recorded = prepared_request(decoding);
  Request request = without_inputs(recorded);
  if (!has_settings) request = request_for_shape(std::move(request), *model, latents.shape);
  Plan plan = model->plan(request);
  record_inputs(plan, recorded);
  if (plan.latent_shape != latents.shape) {
    throw Error(ErrorCode::bad_input,
                file + ": tensor latents: wanted " + join_ints(plan.latent_shape) + " for " + model->info().name +
                    ", got " + join_ints(latents.shape),
                "--model names the checkpoint that made them");
  }
  log::info("{}: {}x{}, {} frames, {} {}", file, plan.width, plan.height, plan.frames, plan.device, plan.dtype);
  ConsoleProgress progress(invocation.run);
  LoadedModel loaded(*model, Parts::decoder);
  try {
    run_job(invocation, plan, loaded, progress, {.latents = std::move(latents)});
  } catch (...) {
    progress.clear_bar();
    throw;
  }
  return 0;
}

}  // namespace t2v::commands
