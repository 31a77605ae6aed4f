// SPDX-License-Identifier: Apache-2.0
// A Stable Video Diffusion of a few MB as Stability publishes it, in one file (svd.safetensors), and the folder that it
// stands for: tests/golden/single_file/names.json.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "support/sd_checkpoint.hpp"
#include "support/svd_checkpoint.hpp"

namespace t2v::test {

inline const io::Json& svd_file_parts() { return original_names()["svd"]["small"]; }

inline void write_svd_file_folder(const std::filesystem::path& folder) {
  write_svd_checkpoint(folder, svd_file_parts());
}

inline TensorList svd_single_file() {
  TensorList list;
  const io::Json& parts = svd_file_parts();
  for (const auto& [component, part] : parts.items()) {
    if (!part.contains("tensors")) continue;
    Manifest manifest = read_manifest(part["tensors"]);
    const std::string projection = "visual_projection.weight";
    if (const auto found = manifest.find(projection); found != manifest.end()) {
      const Shape shape = found->second;  // stored as x proj, used as weight x
      const std::vector<float> weight = formula_weight(projection, shape);
      std::vector<float> transposed;
      for (int64_t column = 0; column < shape[1]; ++column) {
        for (int64_t row = 0; row < shape[0]; ++row) {
          transposed.push_back(weight[static_cast<size_t>(row * shape[1] + column)]);
        }
      }
      list.add(part["names"][projection][0].get<std::string>(), {shape[1], shape[0]}, std::move(transposed));
      manifest.erase(found);
    }
    add_in_original_names(list, manifest, part["names"], "");
  }
  for (const auto& name : parts["unused"]) list.add(name.get<std::string>(), {2}, {1, 2});
  return list;
}

}  // namespace t2v::test
