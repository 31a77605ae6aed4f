// SPDX-License-Identifier: Apache-2.0
// Where models are looked for: resolve_model() and find_models().
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "core/text.hpp"
#include "io/checkpoint.hpp"
#include "io/json_error.hpp"
#include "io/single_file.hpp"
#include "t2v/error.hpp"

namespace t2v::io {

namespace {

namespace fs = std::filesystem;

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool is_model(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path / "model_index.json", ignored) || is_single_file_checkpoint(path);
}

/// <prefix>/share/t2v/models, where the binary that holds this code lies in <prefix>/bin, lib or
/// lib/<machine>.
std::optional<fs::path> installed_models() {
  Dl_info info{};
  static const char anchor = 0;
  if (dladdr(&anchor, &info) == 0 || !info.dli_fname) return std::nullopt;
  std::error_code error;
  fs::path folder = fs::weakly_canonical(info.dli_fname, error).parent_path();
  for (int up = 0; up < 3 && !error && folder.has_parent_path(); ++up) {
    const fs::path models = folder / "share" / "t2v" / "models";
    if (is_folder(models)) return models;
    folder = folder.parent_path();
  }
  return std::nullopt;
}

/// Where this installation keeps what it brings along.
std::vector<fs::path> own_places() {
  std::vector<fs::path> places;
  if (const auto installed = installed_models()) places.push_back(*installed);
#ifdef T2V_SOURCE_MODELS
  places.emplace_back(T2V_SOURCE_MODELS);
#endif
  return places;
}

std::vector<fs::path> model_places() {
  std::vector<fs::path> places;
  if (const char* list = std::getenv("T2V_MODELS")) {
    std::string_view rest = list;
    while (!rest.empty()) {
      const auto part = rest.substr(0, rest.find(':'));
      if (!part.empty()) places.emplace_back(part);
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    }
  }
  for (const auto& place : own_places()) places.push_back(place);
  return places;
}

}  // namespace

std::vector<fs::path> find_models() {
  std::vector<fs::path> models;
  const auto add = [&](const fs::path& model) {
    if (std::find(models.begin(), models.end(), model) == models.end()) models.push_back(model);
  };
  for (const auto& place : model_places()) {
    if (is_model(place)) add(place);
    std::vector<fs::path> here;
    std::error_code error;
    for (fs::directory_iterator it(place, error), end; !error && it != end; it.increment(error)) {
      if (is_model(it->path())) here.push_back(it->path());
    }
    std::sort(here.begin(), here.end());
    for (const auto& model : here) add(model);
  }
  return models;
}

fs::path resolve_model(const std::string& path_or_name) {
  std::error_code ignored;
  if (path_or_name.empty()) throw Error(ErrorCode::bad_input, "no model: wanted a path or a name, got an empty one");
  if (fs::exists(path_or_name, ignored)) return path_or_name;
  const auto places = model_places();
  for (const auto& place : places) {
    if (fs::exists(place / path_or_name, ignored)) return place / path_or_name;
  }
  std::vector<std::string> names, searched{"the path itself"};
  for (const auto& model : find_models()) {
    names.push_back(model.filename().string());
    if (names.back() == path_or_name || (!is_folder(model) && model.stem() == path_or_name)) {
      return model;
    }
  }
  for (const auto& place : places) searched.push_back(place.string());
  throw Error(ErrorCode::bad_input,
              "no such model: " + printable(path_or_name) + ": wanted a path or a model's name, got nothing in " +
                  join(searched, ", "),
              names.empty() ? "set T2V_MODELS to the folder of your models" : did_you_mean(path_or_name, names));
}

fs::path resolve_lora(const std::string& path_or_name) {
  std::error_code ignored;
  if (fs::exists(path_or_name, ignored)) return path_or_name;
  const fs::path name = path_or_name;
  if (!name.empty() && !name.has_parent_path()) {
    for (const auto& place : model_places()) {
      for (const auto& folder : {place, place / "loras"}) {
        if (fs::exists(folder / name, ignored)) return folder / name;
      }
    }
  }
  throw Error(ErrorCode::bad_input, "--lora: " + printable(path_or_name) + ": wanted an existing file, got none",
              name.has_parent_path() ? "" : "a name alone is also looked up in $T2V_MODELS and its loras/");
}

fs::path own_file(const std::string& name) {
  std::error_code ignored;
  std::vector<std::string> searched;
  for (const auto& place : own_places()) {
    if (fs::exists(place / name, ignored)) return place / name;
    searched.push_back(place.string());
  }
  throw Error(ErrorCode::bad_input,
              "incomplete installation: wanted " + name + " in " + join(searched, ", ") + ", got none",
              "install t2v again");
}

}  // namespace t2v::io
