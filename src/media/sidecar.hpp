// SPDX-License-Identifier: Apache-2.0
// `<output>.json`: the settings of a run beside a file whose format has no place for them.
#pragma once

#include <filesystem>
#include <string>

#include "io/atomic_file.hpp"

namespace t2v::media {

inline std::filesystem::path sidecar_path(const std::filesystem::path& output) { return output.string() + ".json"; }

class Sidecar {
 public:
  /// An existing sidecar is refused like an existing output.
  Sidecar(const std::filesystem::path& output, const std::string& json, bool overwrite)
      : file_(sidecar_path(output), overwrite ? io::IfExists::replace : io::IfExists::refuse) {
    file_.write(json);
    file_.write("\n");
  }
  void commit() { file_.commit(); }

 private:
  io::AtomicFile file_;
};

}  // namespace t2v::media
