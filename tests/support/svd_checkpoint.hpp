// SPDX-License-Identifier: Apache-2.0
// A whole Stable Video Diffusion checkpoint of a few MB in a folder, rebuilt from tests/golden/svd/svd.json: the same
// weights that scripts/golden/svd.py ran in diffusers; and the pictures that script draws. Without libtorch.
#pragma once

#include <array>
#include <cmath>
#include <filesystem>
#include <string>

#include "io/config.hpp"
#include "io/image.hpp"
#include "support/formula_weights.hpp"
#include "support/tiny_checkpoint.hpp"

namespace t2v::test {

inline std::filesystem::path svd_folder() { return std::filesystem::path(T2V_TEST_DATA) / "golden/svd"; }

inline const io::Json& svd_document() {
  static const io::Json document = io::load_json(svd_folder() / "svd.json");
  return document;
}

/// As picture() of the script, bit for bit.
inline io::Image formula_picture(const std::string& name, int64_t width, int64_t height) {
  std::array<double, 12> u{};
  for (size_t i = 0; i < u.size(); ++i) u[i] = formula_uniform(fnv1a64(name), i);
  io::Image image{width, height, {}};
  for (int64_t row = 0; row < height; ++row) {
    for (int64_t column = 0; column < width; ++column) {
      const auto x = static_cast<double>(column), y = static_cast<double>(row);
      for (size_t c = 0; c < 3; ++c) {
        const double a = u[4 * c], b = u[4 * c + 1], p = u[4 * c + 2], q = u[4 * c + 3];
        const double wave = (x * (1 + a) + y * (1 + b)) * 7 + x * y * p + 50 * q;
        image.rgb.push_back(static_cast<uint8_t>(std::fmod(std::floor(std::abs(wave)), 256.0)));
      }
    }
  }
  return image;
}

/// Writes model_index.json and all components. `parts`: component -> its config and tensors.
inline void write_svd_checkpoint(const std::filesystem::path& folder,
                                 const io::Json& parts = svd_document()["checkpoint"]) {
  const io::Json& golden = svd_document();
  for (const auto& [name, part] : parts.items()) {
    if (!part.contains("tensors")) continue;
    write_text(folder / name / "config.json", part["config"].dump());
    const bool is_transformers = name == "image_encoder";
    write_formula_checkpoint(
        folder / name / (is_transformers ? "model.safetensors" : "diffusion_pytorch_model.safetensors"),
        read_manifest(part["tensors"]));
  }
  write_text(folder / "scheduler/scheduler_config.json", golden["scheduler"].dump());
  write_text(folder / "feature_extractor/preprocessor_config.json", golden["feature_extractor"].dump());
  write_text(folder / "model_index.json", R"({
    "_class_name": "StableVideoDiffusionPipeline", "_diffusers_version": "0.42.1",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"], "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
    "vae": ["diffusers", "AutoencoderKLTemporalDecoder"]})");
}

/// The image of a run, as a file in `folder`.
inline std::filesystem::path write_picture(const std::filesystem::path& folder, int64_t width, int64_t height) {
  const std::filesystem::path file = folder / "image.png";
  io::save_png(file, formula_picture("image", width, height));
  return file;
}

}  // namespace t2v::test
