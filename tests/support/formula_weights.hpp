// SPDX-License-Identifier: Apache-2.0
// Weights by a formula shared with scripts/golden/formula_weights.py (see there), so that goldens hold no weights:
// a test writes a checkpoint from the names and shapes that diffusers reported, then loads it through the real loader.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/config.hpp"
#include "io/tensor_file.hpp"

namespace t2v::test {

using Shape = std::vector<int64_t>;
using Manifest = std::map<std::string, Shape>;

inline uint64_t fnv1a64(std::string_view text) {
  uint64_t value = 0xCBF29CE484222325ULL;
  for (const char c : text) {
    value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  }
  return value;
}

/// Uniform in [-1, 1), 24 bits: splitmix64 of the name's hash and the index.
inline double formula_uniform(uint64_t name_hash, uint64_t index) {
  uint64_t z = name_hash + (index + 1) * 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  z ^= z >> 31;
  return static_cast<double>(z >> 40) * 0x1p-23 - 1.0;
}

inline int64_t element_count(std::span<const int64_t> shape) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    count *= size;
  }
  return count;
}

inline std::vector<float> formula_weight(const std::string& name, std::span<const int64_t> shape) {
  double centre = 0.0;
  double scale = 0.1;
  if (!name.ends_with("bias")) {
    const bool is_norm = shape.size() <= 1;
    centre = is_norm ? 1.0 : 0.0;
    scale = is_norm ? 0.25 : std::sqrt(3.0 / static_cast<double>(element_count(shape.subspan(1))));
  }
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  const uint64_t hash = fnv1a64(name);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(centre + formula_uniform(hash, i) * scale);
  }
  return values;
}

/// Unit variance, for latents, embeddings and images.
inline std::vector<float> formula_input(const std::string& name, std::span<const int64_t> shape) {
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  const uint64_t hash = fnv1a64(name);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(formula_uniform(hash, i) * std::sqrt(3.0));
  }
  return values;
}

/// Reads a nested manifest: {"conv_in": {"weight": [8, 4, 3, 3]}} -> "conv_in.weight".
inline void read_manifest(const io::Json& node, const std::string& prefix, Manifest& out) {
  for (const auto& [key, value] : node.items()) {
    const std::string name = prefix.empty() ? key : prefix + "." + key;
    if (value.is_array()) {
      out[name] = value.get<Shape>();
    } else {
      read_manifest(value, name, out);
    }
  }
}

inline Manifest read_manifest(const io::Json& tree) {
  Manifest manifest;
  read_manifest(tree, {}, manifest);
  return manifest;
}

/// Writes a safetensors file that holds every tensor of the manifest.
inline void write_formula_checkpoint(const std::filesystem::path& file, const Manifest& manifest) {
  std::vector<std::vector<float>> storage;
  std::vector<io::NamedTensor> tensors;
  storage.reserve(manifest.size());
  for (const auto& [name, shape] : manifest) {
    storage.push_back(formula_weight(name, shape));
    tensors.push_back({name, {io::DType::f32, shape, {}, std::as_bytes(std::span(storage.back()))}});
  }
  io::write_safetensors(file, tensors, {{"format", "pt"}});
}

}  // namespace t2v::test
