// SPDX-License-Identifier: Apache-2.0
#include "commands/kept_run.hpp"

#include <algorithm>
#include <array>
#include <map>

#include "cli/layers.hpp"
#include "cli/option_table.hpp"
#include "commands/content_id.hpp"
#include "commands/settings.hpp"
#include "core/log.hpp"
#include "engine/run_state.hpp"
#include "t2v/error.hpp"
#include "t2v/version.hpp"

namespace t2v::commands {

namespace fs = std::filesystem;
using io::Json;

namespace {

constexpr int kSchema = 1;

/// Options that name files; relative ones belong to the folder that the run began in.
constexpr std::array<std::string_view, 14> kPaths{"output",
                                                  "save-latents",
                                                  "init-latents",
                                                  "image",
                                                  "end-image",
                                                  "video",
                                                  "vae",
                                                  "text-encoder",
                                                  "unet",
                                                  "lora",
                                                  "motion-module",
                                                  "model",
                                                  "keep-first-frame",
                                                  "first-frame-model"};
/// Of these, the ones that may be names.
constexpr std::array<std::string_view, 3> kNamed{"model", "lora", "first-frame-model"};
/// Options that decode or print too, but change what is denoised.
constexpr std::array<std::string_view, 5> kShaping{"from", "device", "dtype", "lora", "motion-module"};
constexpr std::array<std::string_view, 4> kInputs{"image", "end-image", "video", "init-latents"};

template <size_t N>
bool is_one_of(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

Json inputs_of(const cli::Layer& given) {
  Json ids = Json::object();
  for (const auto& option : given) {
    if (!is_one_of(kInputs, option.name)) continue;
    if (std::string id = file_content_id(option.values.back()); !id.empty()) ids[option.name] = std::move(id);
  }
  return ids;
}

/// Models may be named instead of pathed: only a path that is there is one.
std::string placed(const std::string& name, const std::string& value, const fs::path& folder) {
  std::error_code ignored;
  if (!is_one_of(kPaths, name) || value == "-" || value.empty() || fs::path(value).is_absolute()) return value;
  const fs::path path = folder / value;
  const size_t weight = name == "lora" ? path.native().rfind(':') : std::string::npos;  // PATH:WEIGHT
  const bool is_there = fs::exists(path, ignored) || fs::exists(path.native().substr(0, weight), ignored);
  return is_one_of(kNamed, name) && !is_there ? value : path.string();
}

[[noreturn]] void bad_file(const fs::path& file, const std::string& what) {
  throw Error(ErrorCode::bad_input, "bad run state: " + file.string() + ": " + what);
}

/// What decides where the result goes and how it is told, not what it is.
bool may_change(const cli::Option& option) {
  if (is_one_of(kShaping, option.name)) return false;
  const bool is_of_decode = (option.commands & cli::bit(cli::Command::decode)) != 0;
  return is_of_decode || option.group == cli::Group::output || option.group == cli::Group::run;
}

cli::Layer recorded_layer(const UnfinishedRun& run) {
  const fs::path folder = run.about["folder"].get<std::string>();
  std::error_code ignored;
  const bool is_elsewhere = fs::current_path(ignored) != folder;
  cli::Layer layer;
  for (const auto& item : run.about["given"]) {
    cli::Given given{item[0].get<std::string>(), {}, run.file.filename().string() + ": " + item[0].get<std::string>()};
    for (const auto& value : item[1]) {
      const auto text = value.get<std::string>();
      given.values.push_back(is_elsewhere ? placed(given.name, text, folder) : text);
    }
    if (given.values.empty()) bad_file(run.file, given.name + ": wanted a value, got none");
    layer.push_back(std::move(given));
  }
  return layer;
}

void require_same_inputs(const UnfinishedRun& run, const cli::Layer& given) {
  const Json now = inputs_of(given);
  for (const auto& [name, id] : run.about["inputs"].items()) {
    if (now.value(name, std::string{}) != id.get<std::string>()) {
      throw Error(ErrorCode::bad_input, run.file.string() + ": --" + name +
                                            ": wanted the file that the run began with, got a changed or missing one");
    }
  }
}

/// Name -> values of everything that shapes the result, the seed aside.
std::map<std::string, Json> shaping(const Json& given) {
  std::map<std::string, Json> values;
  for (const auto& item : given) {
    const auto name = item[0].get<std::string>();
    const cli::Option* option = cli::find_option(name, cli::Command::generate);
    if (name != "seed" && option && !may_change(*option)) values[name] = item[1];
  }
  return values;
}

Json given_json(const cli::Layer& given) {
  Json out = Json::array();
  for (const auto& option : given) {
    if (option.name == "resume" || option.name == "config" || option.name == "from") continue;
    out.push_back(Json::array({option.name, option.values}));
  }
  return out;
}

}  // namespace

Json about_run(const cli::Invocation& invocation, const Plan& plan, const ModelInfo& model) {
  std::error_code ignored;
  return {{"schema", kSchema},
          {"t2v", T2V_VERSION},
          {"model", model.name},
          {"model_hash", model.content_hash},
          {"seed", plan.request.seed.value_or(0)},
          {"device", plan.device},
          {"folder", fs::current_path(ignored).string()},
          {"given", given_json(invocation.given)},
          {"inputs", inputs_of(invocation.given)},
          {"settings", settings_of(invocation, plan, model)}};
}

UnfinishedRun read_unfinished_run(const fs::path& file) {
  auto kept = engine::load_run_state(file);
  UnfinishedRun run{file, std::move(kept.state), io::parse_json(kept.about, file.string())};
  try {
    const Json& about = run.about;
    const auto version = about.at("t2v").get<std::string>();
    if (version != T2V_VERSION || about.at("schema").get<int>() != kSchema) {
      throw Error(ErrorCode::unsupported,
                  file.string() + ": wanted a run of t2v " T2V_VERSION ", got one of t2v " + version,
                  "another version may compute other numbers: continue with that one, or start again");
    }
    about.at("seed").get<int64_t>();
    for (const char* key : {"model", "model_hash", "folder"}) about.at(key).get<std::string>();
    for (const auto& item : about.at("given")) {
      item.at(0).get<std::string>();
      item.at(1).get<std::vector<std::string>>();
    }
    for (const auto& [name, id] : about.at("inputs").items()) id.get<std::string>();
    if (!about.at("settings").is_object()) bad_file(file, "settings: wanted an object, got another type");
    about.at("settings").value("first_frame_hash", std::string{});
  } catch (const Json::exception& error) {
    bad_file(file, std::string("its record can't be read: ") + error.what());
  }
  return run;
}

int64_t seed_of(const UnfinishedRun& run) { return run.about["seed"].get<int64_t>(); }

cli::Invocation resumed_invocation(const cli::Invocation& asked, const UnfinishedRun& run) {
  cli::Layer beside;
  for (const auto& given : asked.given) {
    if (given.name == "resume") continue;
    const cli::Option* option = cli::find_option(given.name, cli::Command::generate);
    if (option && !may_change(*option)) {
      throw Error(ErrorCode::usage, given.label + ": wanted no flag that changes the result beside --resume, got one",
                  "t2v --from " + run.file.string() + " begins a new run with the same settings");
    }
    beside.push_back(given);
  }
  cli::Layer recorded = recorded_layer(run);
  require_same_inputs(run, recorded);
  std::erase_if(recorded, [](const cli::Given& given) {
    // The first frame may have been kept already; it is made again for this run only.
    const bool is_kept = given.name == "keep-first-frame" && fs::exists(given.values.back());
    return given.name == "seed" || is_kept;
  });
  recorded.push_back({"seed", {std::to_string(seed_of(run))}, run.file.filename().string() + ": seed"});
  try {
    return cli::build(cli::Command::generate, {}, cli::merge(std::move(recorded), beside));
  } catch (const Error& error) {
    throw Error(error.code() == ErrorCode::usage && beside.empty() ? ErrorCode::bad_input : error.code(), error.what(),
                error.hint());
  }
}

void require_same_model(const UnfinishedRun& run, const ModelInfo& model) {
  if (run.about["model_hash"].get<std::string>() == model.content_hash) return;
  throw Error(ErrorCode::bad_input,
              run.file.string() + ": wanted the model that the run began with (" +
                  run.about["model"].get<std::string>() + "), got " + model.name + " with other content",
              "--model names the folder where that model is now");
}

bool has_same_first_frame(const UnfinishedRun& run, const ModelInfo& image_model) {
  return run.about["settings"].value("first_frame_hash", std::string{}) == image_model.content_hash;
}

void require_same_first_frame(const UnfinishedRun& run, const ModelInfo& image_model) {
  if (has_same_first_frame(run, image_model)) return;
  throw Error(ErrorCode::bad_input, run.file.string() + ": wanted the model that made the first frame, got " +
                                        image_model.name + " with other content");
}

std::optional<UnfinishedRun> earlier_try(const fs::path& file, const cli::Invocation& job, const ModelInfo& model) {
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return std::nullopt;
  try {
    UnfinishedRun run = read_unfinished_run(file);
    require_same_model(run, model);
    require_same_inputs(run, job.given);
    const bool same_seed = !job.request.seed || *job.request.seed == seed_of(run);
    if (same_seed && shaping(run.about["given"]) == shaping(given_json(job.given))) return run;
    log::info("{}: of another job, passed over", file.string());
  } catch (const Error& error) {
    log::warn("{}; the job begins anew", error.what());
  }
  return std::nullopt;
}

}  // namespace t2v::commands
