// SPDX-License-Identifier: Apache-2.0
#include "engine/attention_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>

#include "core/log.hpp"
#include "io/atomic_file.hpp"
#include "io/config.hpp"
#include "t2v/error.hpp"

namespace t2v::engine {

namespace {

namespace fs = std::filesystem;
using io::Json;

constexpr const char* kVersionKey = "t2v_attention";
constexpr int kVersion = 1;

Json empty_document() { return {{kVersionKey, kVersion}, {"devices", Json::object()}}; }

bool is_ours(const Json& document) {
  return document.is_object() && document.value(kVersionKey, Json()) == kVersion &&
         document.value("devices", Json()).is_object();
}

Json read_document(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return empty_document();
  try {
    Json document = io::load_json(path);
    if (is_ours(document)) return document;
    log::debug("attention: {}: not a file of this version of t2v, ignored", path.string());
  } catch (const std::exception& error) {
    log::debug("attention: ignored: {}", error.what());
  }
  return empty_document();
}

AttentionFile::Choices choices_of(const Json& document, const std::string& device) {
  AttentionFile::Choices choices;
  const Json& devices = document["devices"];
  if (!devices.contains(device)) return choices;
  for (const auto& [shape, backend] : devices[device].items()) {
    if (backend.is_string()) choices.emplace(shape, backend.get<std::string>());
  }
  return choices;
}

/// Alone among the processes that write into a folder. Where the file system has no such lock, two may write at once:
/// the file stays whole then, and a choice of one of them is lost.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& folder) : fd_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (fd_ >= 0) flock(fd_, LOCK_EX);
  }
  ~FolderLock() {
    if (fd_ >= 0) close(fd_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_;
};

/// The value of a variable that names a folder; relative ones are to be ignored (XDG Base Directory, version 0.8).
std::optional<fs::path> folder_in(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr || *value != '/') return std::nullopt;
  return value;
}

}  // namespace

AttentionFile::Choices AttentionFile::choices_for(const std::string& device) const {
  return choices_of(read_document(path_), device);
}

size_t AttentionFile::count() const {
  const Json document = read_document(path_);
  size_t shapes = 0;
  for (const auto& [device, ignored] : document["devices"].items()) shapes += choices_of(document, device).size();
  return shapes;
}

std::optional<std::string> AttentionFile::keep(const std::string& device, const std::string& shape,
                                               const std::string& backend) const {
  try {
    fs::create_directories(path_.parent_path());
    const FolderLock lock(path_.parent_path());
    Json document = read_document(path_);
    const Choices known = choices_of(document, device);
    if (const auto found = known.find(shape); found != known.end()) return found->second;
    Json& choices = document["devices"][device];
    if (!choices.is_object()) choices = Json::object();
    choices[shape] = backend;
    io::AtomicFile file(path_);
    file.write(document.dump(1) + "\n");
    file.commit();
    return backend;
  } catch (const std::exception& error) {
    log::debug("attention: {}: not kept: {}", path_.string(), error.what());
    return std::nullopt;
  }
}

std::optional<fs::path> attention_file_path() {
  if (const auto cache = folder_in("XDG_CACHE_HOME")) return *cache / "t2v" / "attention.json";
  if (const auto home = folder_in("HOME")) return *home / ".cache" / "t2v" / "attention.json";
  return std::nullopt;
}

}  // namespace t2v::engine
