// SPDX-License-Identifier: Apache-2.0
#include "commands/settings.hpp"

#include <algorithm>
#include <array>

#include "cli/layers.hpp"
#include "cli/option_table.hpp"
#include "cli/preflight.hpp"
#include "t2v/error.hpp"
#include "t2v/version.hpp"

namespace t2v::commands {

namespace {

bool has_encoder(const cli::OutputOptions& output) {
  if (output.path.empty()) return true;
  constexpr std::array<std::string_view, 4> kEncoded{"mp4", "mov", "mkv", "webm"};
  return std::ranges::find(kEncoded, cli::output_format(output)) != kEncoded.end();
}

/// A bad value in a file is the file's fault, not the command line's.
cli::Layer recorded_layer(const io::Json& object, const std::string& where) {
  try {
    cli::Layer layer = cli::read_json(object, where, true);
    cli::build(cli::Command::generate, {}, layer);
    return layer;
  } catch (const Error& error) {
    throw Error(ErrorCode::bad_input, error.what(), error.hint());
  }
}

}  // namespace

io::Json settings_of(const cli::Invocation& invocation, const Plan& plan, const ModelInfo& model) {
  io::Json settings{{"schema", kSettingsSchema},
                    {"t2v", T2V_VERSION},
                    {"model", model.name},
                    {"family", model.family},
                    {"pipeline", model.pipeline_class},
                    {"model_hash", model.content_hash}};
  cli::Invocation resolved = invocation;
  resolved.request = plan.request;
  if (!invocation.first_frame.model.empty()) {
    resolved.request.prompt = invocation.request.prompt;
    resolved.request.negative_prompt = invocation.request.negative_prompt;
    resolved.request.prompt_syntax = invocation.request.prompt_syntax;
    resolved.request.clip_skip = invocation.request.clip_skip;
    resolved.request.image.clear();
  }
  resolved.request.frames = plan.request.frames.value_or(plan.frames);
  resolved.request.seconds.reset();
  resolved.request.fps = plan.request.fps.value_or(plan.fps);
  if (plan.request.width != plan.width || plan.request.height != plan.height) {
    // The model enlarges its frames when no size is asked for; asking for the enlarged size would
    // be another run.
    resolved.request.width.reset();
    resolved.request.height.reset();
    settings["frame_size"] = std::to_string(plan.width) + "x" + std::to_string(plan.height);
  }
  cli::write_settings(resolved, settings);
  for (const LoraInfo& lora : model.loras) settings["lora_hash"].push_back(lora.content_hash);
  if (model.loras.empty() && !invocation.lora_hashes.empty()) settings["lora_hash"] = invocation.lora_hashes;
  if (!invocation.first_frame_hash.empty()) settings["first_frame_hash"] = invocation.first_frame_hash;
  settings["sampler_class"] = plan.sampler_class;
  settings["device"] = plan.device;
  settings["dtype"] = plan.dtype;
  settings["ai_generated"] = true;
  return settings;
}

std::string settings_text(const io::Json& settings) {
  return settings.dump(-1, ' ', false, io::Json::error_handler_t::replace);
}

cli::Invocation with_settings(const cli::Invocation& invocation, const std::string& settings,
                              const std::string& where) {
  const io::Json object = io::parse_json(settings, where);
  if (!object.is_object()) {
    throw Error(ErrorCode::bad_input, where + ": wanted an object of settings, got " + object.type_name());
  }
  cli::Layer recorded = recorded_layer(object, where);
  if (!has_encoder(invocation.output)) {
    std::erase_if(recorded, [](const cli::Given& given) {
      return given.name == "codec" || given.name == "crf" || given.name == "pix-fmt" || given.name == "preset";
    });
  }
  // The options of generate include those of decode; a recorded prompt stays in the record of a
  // decoded video.
  cli::Invocation merged =
      cli::build(cli::Command::generate, invocation.operands, cli::merge(recorded, invocation.given));
  merged.command = invocation.command;
  const auto text_at = [&](const char* key) {
    return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : std::string{};
  };
  merged.settings_hash = text_at("model_hash");
  merged.first_frame_hash = text_at("first_frame_hash");
  const bool has_own_loras = std::ranges::find(invocation.given, "lora", &cli::Given::name) != invocation.given.end();
  if (!has_own_loras && object.contains("lora_hash") && object["lora_hash"].is_array()) {
    for (const auto& hash : object["lora_hash"]) {
      if (hash.is_string()) merged.lora_hashes.push_back(hash.get<std::string>());
    }
  }
  return merged;
}

}  // namespace t2v::commands
