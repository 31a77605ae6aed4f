// SPDX-License-Identifier: Apache-2.0
// The goldens of scripts/golden/taesd.py, without libtorch.
#pragma once

#include <filesystem>

#include "io/config.hpp"

namespace t2v::test {

inline std::filesystem::path taesd_folder() { return std::filesystem::path(T2V_TEST_DATA) / "golden/taesd"; }

/// taesd.json: {"networks": {case: ...}, "run": ...}
inline const io::Json& taesd_document() {
  static const io::Json document = io::load_json(taesd_folder() / "taesd.json");
  return document;
}

}  // namespace t2v::test
