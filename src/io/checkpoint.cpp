// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "core/text.hpp"
#include "io/json_error.hpp"
#include "io/mmap_file.hpp"
#include "io/model_links.hpp"
#include "io/single_file.hpp"
#include "t2v/error.hpp"

namespace t2v::io {

namespace {

namespace fs = std::filesystem;

Error bad_model(const std::string& where, const std::string& what, std::string hint = {}) {
  return Error(ErrorCode::bad_input, "bad model: " + where + ": " + what, std::move(hint));
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// Component keys become folder names, so nothing but a plain word is taken.
bool is_component_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
}

/// The config file names to try, the likeliest for this kind of component first.
std::vector<std::string_view> config_names(const Component& component) {
  std::vector<std::string_view> names{"config.json", "scheduler_config.json", "tokenizer_config.json",
                                      "preprocessor_config.json"};
  const std::string_view kind = component.class_name;
  const auto is = [&](std::string_view in_class, std::string_view in_name) {
    return kind.find(in_class) != kind.npos || component.name.find(in_name) != std::string::npos;
  };
  const size_t first = is("Scheduler", "scheduler")                                                      ? 1
                       : is("Tokenizer", "tokenizer")                                                    ? 2
                       : is("ImageProcessor", "image_processor") || is("Extractor", "feature_extractor") ? 3
                                                                                                         : 0;
  std::rotate(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(first),
              names.begin() + static_cast<std::ptrdiff_t>(first) + 1);
  return names;
}

std::optional<fs::path> find_config(const Component& component) {
  for (const auto name : config_names(component)) {
    if (is_there(component.path / name)) return component.path / name;
  }
  return std::nullopt;
}

/// File names of one variant ("" = plain) in the order of preference.
std::vector<std::string> weight_names(const std::string& variant) {
  const std::string dot = variant.empty() ? "" : "." + variant;
  std::vector<std::string> names;
  for (const std::string extension : {".safetensors", ".bin"}) {
    for (const std::string stem : {"diffusion_pytorch_model", "model", "pytorch_model"}) {
      names.push_back(stem + dot + extension);
      names.push_back(stem + extension + ".index" + dot + ".json");
      if (!variant.empty()) names.push_back(stem + dot + extension + ".index.json");
    }
  }
  return names;
}

/// The class a config says it is for: diffusers' _class_name or the first of transformers'
/// architectures.
std::string class_in_config(const fs::path& file) {
  const Config config = Config::load(file);
  if (config.has("_class_name")) return config.get_string("_class_name");
  const auto architectures = config.get_strings("architectures", std::vector<std::string>{});
  return architectures.empty() ? "" : architectures.front();
}

/// One `name: [library, class]` of model_index.json, or nothing for an option or an absent part.
/// The library is not looked at: real files name modules that exist nowhere (zeroscope_v2_XL,
/// Show-1).
std::optional<std::string> component_class(const std::string& name, const Json& value, const std::string& where) {
  if (!value.is_array() || value.size() != 2) return std::nullopt;
  if (value[0].is_null() && value[1].is_null()) return std::nullopt;
  const bool is_pair = (value[0].is_string() || value[0].is_null()) && value[1].is_string();
  if (!is_pair) {
    // Two numbers or booleans are an option that happens to be a pair.
    if (!value[0].is_string() && !value[1].is_string() && !value[0].is_null() && !value[1].is_null())
      return std::nullopt;
    throw bad_model(where,
                    printable(name) + ": wanted [library, class] or [null, null], got " + printable(value.dump(), 80));
  }
  if (!is_component_name(name)) {
    throw bad_model(where, "wanted a component name of letters, digits, '_' and '-', got '" + printable(name) + "'");
  }
  return value[1].get<std::string>();
}

}  // namespace

Config Component::config() const {
  if (derived_config) return Config(*derived_config, path.string());
  if (const auto file = find_config(*this)) {
    refuse_foreign_link(*file, path.parent_path());
    return Config::load(*file);
  }
  const auto names = config_names(*this);
  if (!is_folder(path)) throw bad_model(path.string(), "the folder of component '" + name + "' is missing");
  throw bad_model(path.string(), "wanted " + std::string(names.front()) + ", got no such file");
}

bool Component::has_config() const { return derived_config || find_config(*this).has_value(); }

std::optional<fs::path> Component::find_weights(std::string_view variant) const {
  if (!weight_file.empty()) return weight_file;
  std::vector<std::string> variants{""};
  if (!variant.empty()) variants.insert(variants.begin(), std::string(variant));
  // What diffusers would not find without being asked comes last, but a model that has nothing else
  // still loads.
  for (const auto* other : {"fp16", "bf16", "fp32"}) variants.emplace_back(other);
  for (const auto& one : variants) {
    for (const auto& file : weight_names(one)) {
      if (is_there(path / file)) return path / file;
    }
  }
  return std::nullopt;
}

std::shared_ptr<const TensorFile> Component::weights(std::string_view variant) const {
  if (shown_weights) return shown_weights;
  const auto file = find_weights(variant);
  if (!file) {
    throw bad_model(
        path.string(),
        "wanted weights of '" + name + "' (diffusion_pytorch_model or model, .safetensors or .bin), got none",
        is_folder(path) ? "download the weight files of this folder"
                        : "the folder is missing: download the whole model");
  }
  if (weight_file.empty()) refuse_foreign_link(*file, path.parent_path());
  const std::string file_name = file->filename().string();
  const bool is_index = file_name.ends_with(".json") && file_name.find(".index.") != std::string::npos;
  return is_index ? open_sharded(*file) : open_tensor_file(*file);
}

Checkpoint Checkpoint::open(const fs::path& folder) {
  const std::string where = folder.string();
  if (!is_there(folder)) throw bad_model(where, "no such folder");
  if (folder.extension() == ".json") {
    throw bad_model(where, "wanted a model folder, got a file of it", "give the folder");
  }
  if (!is_folder(folder)) return open_single_file(folder);
  const fs::path index_file = folder / "model_index.json";
  if (!is_there(index_file)) {
    throw bad_model(where, "wanted a model folder with model_index.json, got a folder without",
                    is_there(folder / "config.json") ? "this is one component; give the folder above it"
                                                     : "give a folder in diffusers' layout");
  }
  refuse_foreign_link(index_file, folder);
  Checkpoint checkpoint;
  checkpoint.path_ = folder;
  checkpoint.index_ = std::make_shared<const Config>(Config::load(index_file));
  checkpoint.pipeline_class_ = checkpoint.index_->get_string("_class_name");
  for (const auto& [name, value] : checkpoint.index_->json().items()) {
    if (name.starts_with('_')) continue;
    if (const auto class_name = component_class(name, value, index_file.string())) {
      checkpoint.components_.emplace(name, Component{name, *class_name, folder / name});
    }
  }
  return checkpoint;
}

Checkpoint Checkpoint::made_of(fs::path path, Config index, std::map<std::string, Component, std::less<>> components) {
  Checkpoint checkpoint;
  checkpoint.path_ = std::move(path);
  checkpoint.index_ = std::make_shared<const Config>(std::move(index));
  checkpoint.pipeline_class_ = checkpoint.index_->get_string("_class_name");
  checkpoint.components_ = std::move(components);
  return checkpoint;
}

bool Checkpoint::has(std::string_view name) const { return components_.find(name) != components_.end(); }

const Component& Checkpoint::component(std::string_view name) const {
  if (const auto it = components_.find(name); it != components_.end()) return it->second;
  std::vector<std::string> names;
  for (const auto& [present, component] : components_) names.push_back(present);
  std::string hint;
  if (name == "vae") hint = "--vae PATH gives an autoencoder";
  if (name == "text_encoder") hint = "--text-encoder PATH gives one";
  throw bad_model(path_.string(),
                  "wanted a component '" + std::string(name) + "', got " + (names.empty() ? "none" : join(names, ", ")),
                  hint);
}

void Checkpoint::override_component(std::string_view name, const fs::path& path) {
  if (!is_there(path)) throw bad_model(path.string(), "no such file or folder to replace '" + std::string(name) + "'");
  Component& component =
      components_.try_emplace(std::string(name), Component{std::string(name), "", path}).first->second;
  if (is_folder(path)) {
    // A whole model stands for its part of that name.
    const bool is_model = is_there(path / "model_index.json") && is_folder(path / name);
    component.path = is_model ? path / name : path;
    component.weight_file.clear();
    component.derived_config = nullptr;
    component.shown_weights = nullptr;
  } else if (auto original = original_component(name, path)) {
    component = std::move(*original);
    return;
  } else {
    component.weight_file = path;
    component.shown_weights = nullptr;
    const fs::path beside = path.has_parent_path() ? path.parent_path() : fs::path(".");
    if (is_there(beside / "config.json")) {
      component.path = beside;
      component.derived_config = nullptr;
    }
  }
  if (const auto config = find_config(component)) {
    if (const auto class_name = class_in_config(*config); !class_name.empty()) component.class_name = class_name;
  }
}

}  // namespace t2v::io
