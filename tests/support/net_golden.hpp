// SPDX-License-Identifier: Apache-2.0
// The goldens of scripts/golden/nets.py: rebuilds a case's checkpoint from its manifest and opens it with the real
// reader; inputs come from the same formula.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <unistd.h>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "io/config.hpp"
#include "io/tensor_file.hpp"
#include "support/formula_weights.hpp"
#include "tensor/weights.hpp"

namespace t2v::test {

inline std::filesystem::path nets_folder() { return std::filesystem::path(T2V_TEST_DATA) / "golden/nets"; }

/// nets.json: {"unet": {case: ...}, "vae": {case: ...}, "layer": {case: manifest}}
inline const io::Json& nets_document() {
  static const io::Json document = io::load_json(nets_folder() / "nets.json");
  return document;
}

/// An output that diffusers computed, by its name in nets.safetensors.
inline at::Tensor expected(const std::string& name) {
  static const auto file = io::open_tensor_file(nets_folder() / "nets.safetensors");
  return as_tensor(file->tensors().at(name), file);
}

inline at::Tensor formula_tensor(const std::string& name, const Shape& shape, float scale = 1.0F) {
  std::vector<float> values = formula_input(name, shape);
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(at::kFloat));
  float* out = tensor.mutable_data_ptr<float>();
  for (const float value : values) {
    *out++ = value * scale;
  }
  return tensor;
}

/// A file name of its own for each test process, removed at the end.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& stem)
      : path_(std::filesystem::temp_directory_path() /
              ("t2v-" + stem + "-" + std::to_string(::getpid()) + ".safetensors")) {}
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A checkpoint of formula weights. The mapping stays valid after the file's name is gone.
inline std::shared_ptr<const io::TensorFile> formula_file(const Manifest& manifest) {
  const TemporaryFile file("formula");
  write_formula_checkpoint(file.path(), manifest);
  return io::open_tensor_file(file.path());
}

inline WeightStore formula_store(const Manifest& manifest, const Placement& placement = {}) {
  return WeightStore(formula_file(manifest), placement);
}

}  // namespace t2v::test
