// SPDX-License-Identifier: Apache-2.0
// What was found to be the fastest attention of a shape, kept on disk: choosing by the clock again in every run would
// make the bits of a seed depend on how busy the device was. One JSON object:
//   {"t2v_attention": 1, "devices": {DEVICE AND LIBRARIES: {SHAPE: BACKEND}}}
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace t2v::engine {

/// Several processes may use one file. A file that is damaged, foreign or of another version is as good as none, and is
/// replaced by the first choice that is kept.
class AttentionFile {
 public:
  using Choices = std::map<std::string, std::string>;  // backend by shape

  explicit AttentionFile(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  Choices choices_for(const std::string& device) const;
  size_t count() const;  ///< shapes, of all devices

  /// Adds a choice unless the file has one for this shape, and gives what it says from then on. Nothing where it can't
  /// be written: the choice would be gone with this process.
  std::optional<std::string> keep(const std::string& device, const std::string& shape,
                                  const std::string& backend) const;

 private:
  std::filesystem::path path_;
};

/// t2v/attention.json in $XDG_CACHE_HOME, else in ~/.cache; nothing without either.
std::optional<std::filesystem::path> attention_file_path();

}  // namespace t2v::engine
