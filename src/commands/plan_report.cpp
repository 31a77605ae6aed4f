// SPDX-License-Identifier: Apache-2.0
#include "commands/plan_report.hpp"

#include <string>

#include "cli/streams.hpp"
#include "cli/values.hpp"
#include "commands/settings.hpp"
#include "core/text.hpp"

namespace t2v::commands {

io::Json plan_json(const cli::Invocation& invocation, const Plan& plan, const ModelInfo& model) {
  io::Json files = io::Json::array();
  if (!invocation.output.path.empty()) files.push_back(invocation.output.path);
  if (!invocation.output.save_latents.empty())
    files.push_back(invocation.output.save_latents.string());
  io::Json loras = io::Json::array();
  for (const LoraInfo& lora : model.loras) {
    loras.push_back({{"name", lora.name},
                     {"weight", lora.weight},
                     {"hash", lora.content_hash},
                     {"naming", lora.naming},
                     {"ranks", lora.ranks},
                     {"matched", lora.matched},
                     {"tensors", lora.tensors}});
  }
  return {{"settings", settings_of(invocation, plan, model)},
          {"frames_at_once", plan.frames_at_once},
          {"loras", loras},
          {"latent_shape", plan.latent_shape},
          {"memory",
           {{"weights", plan.memory.weights},
            {"denoise_peak", plan.memory.denoise_peak},
            {"decode_peak", plan.memory.decode_peak},
            {"total_peak", plan.memory.total_peak}}},
          {"files", files}};
}

void print_plan(const cli::Invocation& invocation, const Plan& plan, const ModelInfo& model) {
  const io::Json report = plan_json(invocation, plan, model);
  if (invocation.run.json) {
    cli::print_data(settings_text(report) + "\n");
    return;
  }
  const Request& request = plan.request;
  std::string out = "model     " + model.name + " (" + model.pipeline_class + ")\n";
  for (const LoraInfo& lora : model.loras) {
    out += cli::one_line("lora      " + lora.name + ", weight " + cli::number_text(lora.weight) +
                         ", matched " + std::to_string(lora.matched) + " of " +
                         std::to_string(lora.tensors) + " tensors") +
           "\n";
  }
  out += "video     " + std::to_string(plan.width) + "x" + std::to_string(plan.height) + ", " +
         std::to_string(plan.frames) + " frames at " + cli::rational_text(plan.fps) + " fps\n";
  out +=
      "sampling  " + std::to_string(request.steps.value_or(0)) + " steps of " + plan.sampler_class;
  if (request.cfg_scale) out += ", guidance " + cli::number_text(*request.cfg_scale);
  out += ", seed " + std::to_string(request.seed.value_or(0)) + "\n";
  if (plan.frames_at_once < plan.frames) {
    out += "windows   " + std::to_string(plan.frames_at_once) + " frames at once, " +
           std::to_string(request.context_overlap.value_or(0)) + " of them shared\n";
  }
  if (request.loop) out += "loop      the last frame leads into the first\n";
  for (const auto& [move, strength] : request.camera) {
    out += "camera    " + move + ", strength " + cli::number_text(strength) + "\n";
  }
  for (const auto& [frame, text] : request.prompt_at) {
    out += cli::one_line("prompt    from frame " + std::to_string(frame) + ": " + text) + "\n";
  }
  out += "latents   " + join_ints(plan.latent_shape) + "\n";
  out += "device    " + plan.device + " " + plan.dtype + "\n";
  out += "memory    " + human_bytes(plan.memory.total_peak) + " (weights " +
         human_bytes(plan.memory.weights) + ", one network call " +
         human_bytes(plan.memory.denoise_peak) + ", one decode chunk " +
         human_bytes(plan.memory.decode_peak) + ")\n";
  for (const auto& file : report["files"])
    out += "writes    " + cli::one_line(file.get<std::string>()) + "\n";
  cli::print_data(out);
}

}  // namespace t2v::commands
