// SPDX-License-Identifier: Apache-2.0
// `t2v info`: what is in a checkpoint, a weight or latents file, or a video made by t2v.
#include <algorithm>
#include <filesystem>
#include <functional>
#include <numeric>
#include <set>

#include "cli/streams.hpp"
#include "cli/values.hpp"
#include "commands/inspect.hpp"
#include "commands/kept_run.hpp"
#include "commands/kept_work.hpp"
#include "commands/settings.hpp"
#include "commands/tools.hpp"
#include "core/text.hpp"
#include "io/checkpoint.hpp"
#include "io/lora.hpp"
#include "io/single_file.hpp"
#include "io/tensor_file.hpp"
#include "media/metadata.hpp"
#include "media/video_reader.hpp"

namespace t2v::commands {

namespace {

using io::Json;

LoadOptions options_for(const std::string& path) {
  LoadOptions options;
  options.model = path;
  options.device = "cpu";  // nothing is computed
  return options;
}

Json component_json(const ComponentInfo& part) {
  return {{"name", part.name},
          {"class", part.class_name},
          {"parameters", part.parameters},
          {"dtype", part.dtype},
          {"bytes", part.file_bytes}};
}

Json checkpoint_json(const std::string& path, const Tools& tools) {
  const auto checkpoint = io::Checkpoint::open(path);
  Json report{{"kind", "checkpoint"}, {"path", path}, {"pipeline", checkpoint.pipeline_class()}};
  try {
    const auto model = tools.open_model(options_for(path));
    const ModelInfo& facts = model->info();
    report["family"] = facts.family;
    report["supported"] = true;
    report["content_hash"] = facts.content_hash;
    report["defaults"] = {{"width", facts.width},   {"height", facts.height},
                          {"frames", facts.frames}, {"fps", cli::rational_text(facts.fps)},
                          {"steps", facts.steps},   {"cfg-scale", facts.cfg_scale}};
    report["accepts"] = facts.accepts;
    for (const auto& part : facts.components) report["components"].push_back(component_json(part));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::unsupported) throw;
    report["supported"] = false;
    report["reason"] = error.what();
    for (const auto& [name, part] : checkpoint.components()) {
      report["components"].push_back({{"name", name}, {"class", part.class_name}});
    }
  }
  return report;
}

/// What a weight file is, where its names tell: the config that its network would have.
void describe_part(Json& report, const std::string& path) {
  const auto part = io::original_component("motion_adapter", path);
  if (!part) return;
  report["component"] = part->class_name;
  report["config"] = part->config().json();
}

int64_t element_count(const io::TensorView& view) {
  return std::accumulate(view.shape.begin(), view.shape.end(), int64_t{1}, std::multiplies<>());
}

Json tensors_json(const std::string& path, FileKind kind) {
  const auto file = io::open_tensor_file(path);
  int64_t parameters = 0;
  std::set<std::string> dtypes;
  for (const auto& [name, view] : file->tensors()) {
    parameters += element_count(view);
    dtypes.emplace(io::dtype_name(view.dtype));
  }
  Json report{{"kind", kind == FileKind::latents ? "latents" : "weights"},
              {"path", path},
              {"tensors", file->tensors().size()},
              {"parameters", parameters},
              {"dtypes", dtypes},
              {"bytes", file->file_bytes()}};
  if (kind == FileKind::latents) {
    report["shape"] = file->tensors().find("latents")->second.shape;
    if (const auto found = file->metadata().find("settings"); found != file->metadata().end()) {
      report["settings"] = io::parse_json(found->second, path);
    }
    return report;
  }
  if (!file->metadata().empty()) report["metadata"] = file->metadata();
  describe_part(report, path);
  return report;
}

/// What a LoRA changes, and how strongly: what one wants to know before using it.
Json lora_json(const std::string& path) {
  const auto lora = io::LoraFile::open(path);
  std::set<double> alphas;
  std::set<std::string> dtypes;
  for (const auto& module : lora.modules()) {
    if (module.rank > 0) alphas.insert(module.scale * static_cast<double>(module.rank));
    for (const auto* view : {module.down, module.diff})
      if (view) dtypes.emplace(io::dtype_name(view->dtype));
  }
  Json report{{"kind", "lora"},
              {"path", path},
              {"naming", lora.naming()},
              {"ranks", lora.ranks()},
              {"alphas", alphas},
              {"modules", lora.modules_by_component()},
              {"tensors", lora.tensor_count()},
              {"dtypes", dtypes},
              {"bytes", lora.file().file_bytes()},
              {"content_hash", io::file_hash(lora.path())}};
  if (const auto base = lora.base_hint(); !base.empty()) report["made_for"] = base;
  if (!lora.strangers().empty()) report["other_tensors"] = lora.strangers().size();
  for (const char* key : {"ss_sd_model_name", "ss_network_module", "ss_output_name", "modelspec.title",
                          "modelspec.trigger_phrase", "modelspec.license"}) {
    const auto& facts = lora.file().metadata();
    if (const auto found = facts.find(key); found != facts.end() && !found->second.empty())
      report["metadata"][key] = found->second;
  }
  return report;
}

/// One component of a model on its own: a motion adapter, an autoencoder.
bool is_component_folder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(std::filesystem::path(path) / "config.json", ignored) &&
         !std::filesystem::exists(std::filesystem::path(path) / "model_index.json", ignored);
}

Json component_folder_json(const std::string& path) {
  const io::Component part{std::filesystem::path(path).filename().string(), "", path};
  const io::Config config = part.config();
  const auto file = part.weights();
  int64_t parameters = 0;
  for (const auto& [name, view] : file->tensors()) parameters += element_count(view);
  return {{"kind", "component"},
          {"path", path},
          {"class", config.get_string("_class_name", "")},
          {"tensors", file->tensors().size()},
          {"parameters", parameters},
          {"bytes", file->file_bytes()},
          {"config", config.json()}};
}

Json media_json(const std::string& path) {
  const auto video = media::open_video(path);
  const media::VideoInfo& facts = video->info();
  Json report{{"kind", "video"},
              {"path", path},
              {"container", facts.container},
              {"codec", facts.codec},
              {"pix-fmt", facts.pix_fmt},
              {"width", facts.width},
              {"height", facts.height},
              {"fps", cli::rational_text(facts.fps)},
              {"frames", facts.frames},
              {"seconds", facts.seconds},
              {"matrix", facts.matrix},
              {"range", facts.range}};
  if (const auto settings = media::read_metadata(path)) report["settings"] = io::parse_json(*settings, path);
  return report;
}

Json unfinished_json(const std::string& path) {
  const UnfinishedRun run = read_unfinished_run(path);
  return {{"kind", "unfinished run"},
          {"path", path},
          {"steps-done", run.state.steps_done},
          {"steps", run.state.steps},
          {"bytes", std::filesystem::file_size(path)},
          {"continue", resume_command(path)},
          {"settings", run.about["settings"]}};
}

std::string scalar_text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : settings_text(value);
}

std::string component_line(const Json& part) {
  std::string line = part["name"].get<std::string>() + ": " + part["class"].get<std::string>();
  if (part.value("parameters", int64_t{0}) > 0)
    line += ", " + std::to_string(part["parameters"].get<int64_t>()) + " parameters";
  if (!part.value("dtype", std::string{}).empty()) line += ", " + part["dtype"].get<std::string>();
  if (part.value("bytes", int64_t{0}) > 0) line += ", " + human_bytes(part["bytes"].get<int64_t>());
  return line;
}

/// One `key  value` line each; nested objects are indented.
void append_lines(std::string& out, const Json& object, size_t indent) {
  constexpr size_t kColumn = 18;
  for (const auto& [key, value] : object.items()) {
    std::string name = std::string(indent, ' ') + key;
    if (key == "components") {
      for (const auto& part : value) out += std::string(indent, ' ') + cli::one_line(component_line(part)) + "\n";
      continue;
    }
    if (value.is_object()) {
      out += name + "\n";
      append_lines(out, value, indent + 2);
      continue;
    }
    if (name.size() < kColumn) name.resize(kColumn, ' ');
    const bool is_size = key == "bytes" && value.is_number_integer();
    out += name + " " + cli::one_line(is_size ? human_bytes(value.get<int64_t>()) : scalar_text(value)) + "\n";
  }
}

}  // namespace

int info(const Invocation& invocation, const Tools& tools) {
  const std::string& path = invocation.operands.front();
  const FileKind kind = kind_of(path);
  const Json report = kind == FileKind::lora             ? lora_json(path)
                      : is_component_folder(path)        ? component_folder_json(path)
                      : kind == FileKind::checkpoint     ? checkpoint_json(path, tools)
                      : kind == FileKind::unfinished_run ? unfinished_json(path)
                      : kind == FileKind::media          ? media_json(path)
                                                         : tensors_json(path, kind);
  std::string out;
  if (invocation.run.json) {
    out = settings_text(report) + "\n";
  } else {
    append_lines(out, report, 0);
  }
  cli::print_data(out);
  return 0;
}

int models(const Invocation& invocation, const Tools& tools) {
  Json found = Json::array();
  for (const auto& path : io::find_models()) {
    Json row{{"name", path.filename().string()}, {"path", path.string()}};
    try {
      const auto model = tools.open_model(options_for(path.string()));
      int64_t parameters = 0;
      int64_t bytes = 0;
      for (const auto& part : model->info().components) {
        parameters += part.parameters;
        bytes += part.file_bytes;
      }
      row["family"] = model->info().family;
      row["parameters"] = parameters;
      row["bytes"] = bytes;
    } catch (const Error& error) {
      row["problem"] = error.what();  // a table of models must not end at the first bad one
    }
    found.push_back(std::move(row));
  }
  std::string out;
  if (invocation.run.json) {
    out = settings_text(found) + "\n";
  } else if (found.empty()) {
    out = "no models found; put checkpoint folders into a folder and name it in $T2V_MODELS\n";
  }
  for (const auto& row : found) {
    if (invocation.run.json) break;
    const std::string what = row.contains("problem")
                                 ? row["problem"].get<std::string>()
                                 : row["family"].get<std::string>() + ", " + human_bytes(row["bytes"].get<int64_t>());
    out += cli::one_line(row["name"].get<std::string>() + "  " + what + "  " + row["path"].get<std::string>()) + "\n";
  }
  cli::print_data(out);
  return 0;
}

}  // namespace t2v::commands
