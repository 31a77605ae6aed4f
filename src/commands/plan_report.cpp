// SPDX-License-Identifier: Apache-2.0
#include "commands/plan_report.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "cli/streams.hpp"
#include "cli/values.hpp"
#include "commands/settings.hpp"
#include "core/text.hpp"

namespace t2v::commands {

namespace {

std::vector<std::string> files_written(const cli::Invocation& invocation) {
  std::vector<std::string> files;
  if (!invocation.output.path.empty()) files.push_back(invocation.output.path);
  if (!invocation.output.save_latents.empty()) files.push_back(invocation.output.save_latents.string());
  return files;
}

int64_t total_peak(const PlannedRun& run, const PlannedRun* first_frame) {
  return std::max(run.plan.memory.total_peak, first_frame ? first_frame->plan.memory.total_peak : 0);
}

std::string shape_line(const Plan& plan) {
  const std::string size = std::to_string(plan.width) + "x" + std::to_string(plan.height);
  if (plan.frames == 1) return "picture   " + size + "\n";
  return "video     " + size + ", " + std::to_string(plan.frames) + " frames at " + cli::rational_text(plan.fps) +
         " fps\n";
}

std::string sampling_lines(const Plan& plan) {
  const Request& request = plan.request;
  std::string out = "sampling  " + std::to_string(request.steps.value_or(0)) + " steps of " + plan.sampler_class;
  if (request.cfg_scale) out += ", guidance " + cli::number_text(*request.cfg_scale);
  if (request.cfg_from.value_or(0) > 0 || request.cfg_until.value_or(1) < 1) {
    out += " from " + cli::number_text(request.cfg_from.value_or(0)) + " to " +
           cli::number_text(request.cfg_until.value_or(1)) + " of the steps";
  }
  if (request.deepcache.value_or(1) > 1) out += ", all layers every " + std::to_string(*request.deepcache) + " steps";
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
  return out;
}

std::string plan_text(const PlannedRun& run) {
  const Plan& plan = run.plan;
  std::string out = "model     " + run.model.name + " (" + run.model.pipeline_class + ")\n";
  for (const LoraInfo& lora : run.model.loras) {
    out += cli::one_line("lora      " + lora.name + ", weight " + cli::number_text(lora.weight) + ", matched " +
                         std::to_string(lora.matched) + " of " + std::to_string(lora.tensors) + " tensors") +
           "\n";
  }
  out += shape_line(plan) + sampling_lines(plan);
  out += "latents   " + join_ints(plan.latent_shape) + "\n";
  out += "device    " + plan.device + " " + plan.dtype + "\n";
  const MemoryPlan& memory = plan.memory;
  out += "memory    " + human_bytes(memory.total_peak) + " (weights " + human_bytes(memory.weights) +
         ", one network call " + human_bytes(memory.denoise_peak) + ", one decode chunk " +
         human_bytes(memory.decode_peak) + ")\n";
  for (const std::string& file : files_written(run.invocation)) out += "writes    " + cli::one_line(file) + "\n";
  return out;
}

}  // namespace

io::Json plan_json(const PlannedRun& run, const PlannedRun* first_frame) {
  io::Json loras = io::Json::array();
  for (const LoraInfo& lora : run.model.loras) {
    loras.push_back({{"name", lora.name},
                     {"weight", lora.weight},
                     {"hash", lora.content_hash},
                     {"naming", lora.naming},
                     {"ranks", lora.ranks},
                     {"matched", lora.matched},
                     {"tensors", lora.tensors}});
  }
  const Plan& plan = run.plan;
  io::Json report{{"settings", settings_of(run.invocation, plan, run.model)},
                  {"frames_at_once", plan.frames_at_once},
                  {"loras", loras},
                  {"latent_shape", plan.latent_shape},
                  {"memory",
                   {{"weights", plan.memory.weights},
                    {"denoise_peak", plan.memory.denoise_peak},
                    {"decode_peak", plan.memory.decode_peak},
                    {"total_peak", total_peak(run, first_frame)}}},
                  {"files", files_written(run.invocation)}};
  if (first_frame) report["first_frame"] = plan_json(*first_frame);
  return report;
}

void print_plan(const PlannedRun& run, const PlannedRun* first_frame) {
  if (run.invocation.run.json) {
    cli::print_data(settings_text(plan_json(run, first_frame)) + "\n");
    return;
  }
  std::string out = plan_text(run);
  if (first_frame) {
    out = "first frame\n" + plan_text(*first_frame) + "\nvideo from it\n" + out + "\ntogether  " +
          human_bytes(total_peak(run, first_frame)) + " of memory: the models are loaded one after the other\n";
  }
  cli::print_data(out);
}

}  // namespace t2v::commands
