// SPDX-License-Identifier: Apache-2.0
// A checkpoint: diffusers' folder layout (model_index.json and its component folders), or the same parts out of one
// file.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "io/config.hpp"
#include "io/tensor_file.hpp"

namespace t2v::io {

/// One component folder: config.json (or scheduler_config.json, ...) and the weight files beside it. A part of a single
/// file has both derived from that file instead (single_file.hpp).
struct Component {
  std::string name;  ///< "unet"
  std::string
      class_name;  ///< "UNet3DConditionModel", from model_index.json (or config.json's _class_name / architectures)
  std::filesystem::path path;                            ///< the folder
  std::filesystem::path weight_file = {};                ///< set when one file replaces the folder's weights
  std::shared_ptr<const Json> derived_config = {};       ///< stands for the config file
  std::shared_ptr<const TensorFile> shown_weights = {};  ///< stands for what weight_file holds

  Config config() const;  ///< config.json / scheduler_config.json / tokenizer_config.json / preprocessor_config.json
  /// Picks the weight file(s): diffusion_pytorch_model or model, safetensors before .bin, plain before `.fp16` unless
  /// `variant` asks for one, single file before shards.
  std::shared_ptr<const TensorFile> weights(std::string_view variant = {}) const;
  bool has_config() const;
  /// The file (or shard index) that weights() opens; nothing when the folder holds none.
  std::optional<std::filesystem::path> find_weights(std::string_view variant = {}) const;
};

class Checkpoint {
 public:
  /// A folder: reads and checks model_index.json, opens no weight file. A file: see open_single_file().
  static Checkpoint open(const std::filesystem::path& path);
  static Checkpoint made_of(std::filesystem::path path, Config index,
                            std::map<std::string, Component, std::less<>> components);

  const std::string& pipeline_class() const { return pipeline_class_; }
  const std::filesystem::path& path() const { return path_; }
  const Config& index() const { return *index_; }  ///< model_index.json, for scalar pipeline options
  bool has(std::string_view name) const;
  /// Error{bad_input} when absent, with the list of those present.
  const Component& component(std::string_view name) const;
  const std::map<std::string, Component, std::less<>>& components() const { return components_; }
  /// Replaces a component by another folder, or by a weight file. One in an original spelling brings its config; else
  /// it is the config.json beside the file, else the old one.
  void override_component(std::string_view name, const std::filesystem::path& path);

 private:
  std::filesystem::path path_;
  std::string pipeline_class_;
  std::shared_ptr<const Config> index_;
  std::map<std::string, Component, std::less<>> components_;
};

/// Where a model name is looked up: as a path, then $T2V_MODELS, the install's share/t2v/models, the source tree's
/// models/.
std::filesystem::path resolve_model(const std::string& path_or_name);
/// Where a LoRA is looked up: as a path; a name without folders also in those places and their `loras` folders.
std::filesystem::path resolve_lora(const std::string& path_or_name);
/// All models found in those places (folders with a model_index.json, single-file checkpoints).
std::vector<std::filesystem::path> find_models();
/// A file or folder of the installation's own share/t2v/models (or the source tree's). Error{bad_input} when it is not
/// there.
std::filesystem::path own_file(const std::string& name);

/// Hex digest over configs and weight headers (names, dtypes, shapes) plus each weight file's size and samples of its
/// bytes: changes when a model's content does, costs milliseconds for gigabytes.
std::string content_hash(const Checkpoint&);
/// The same of one file, whatever its name.
std::string file_hash(const std::filesystem::path& file);

}  // namespace t2v::io
