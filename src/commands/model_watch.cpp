// SPDX-License-Identifier: Apache-2.0
#include "commands/model_watch.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "core/log.hpp"
#include "io/checkpoint.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

namespace fs = std::filesystem;

namespace {

void add_file(std::vector<std::string>& lines, const fs::path& file) {
  struct stat info {};
  if (stat(file.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return;
  lines.push_back(file.string() + " " + std::to_string(info.st_size) + " " + std::to_string(info.st_mtim.tv_sec) + "." +
                  std::to_string(info.st_mtim.tv_nsec));
}

void add_path(std::vector<std::string>& lines, const fs::path& path) {
  constexpr size_t kMost = 10000;  // a folder of that many files is no model
  add_file(lines, path);
  std::error_code error;
  for (fs::recursive_directory_iterator it(path, error), end; !error && it != end && lines.size() < kMost;
       it.increment(error)) {
    add_file(lines, it->path());
  }
}

fs::path model_path(const std::string& name) {
  try {
    return io::resolve_model(name);
  } catch (const Error&) {
    return name;
  }
}

}  // namespace

std::string ModelWatch::stamp() const {
  std::vector<std::string> lines;
  if (!load_.model.empty()) add_path(lines, model_path(load_.model));
  for (const fs::path& part : {load_.vae, load_.text_encoder, load_.unet, load_.motion_module}) {
    if (!part.empty()) add_path(lines, part);
  }
  std::ranges::sort(lines);
  std::string all;
  for (const auto& line : lines) all += line + "\n";
  return all;
}

void ModelWatch::warn_if_changed() const {
  if (stamp() != before_) log::warn("files of the model were changed during the run: its result may be of neither");
}

}  // namespace t2v::commands
