// SPDX-License-Identifier: Apache-2.0
// A whole model in one file, in its original spelling (Stable Diffusion's model.safetensors and .ckpt), opened as the
// checkpoint folder it stands for: the same components, configs derived from tensor shapes, names in diffusers'
// spelling, nothing copied. A kind of file is one row of the table in single_file.cpp and one function that takes it
// apart.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint.hpp"
#include "io/config.hpp"
#include "io/shown_tensors.hpp"
#include "io/tensor_file.hpp"

namespace t2v::io {

/// The tensors of a file below a prefix, by the rest of their names.
class TensorsBelow {
 public:
  TensorsBelow(std::shared_ptr<const TensorFile> file, std::string prefix);

  bool empty() const { return tensors_.empty(); }
  bool has(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }
  bool has_start(std::string_view start) const;  ///< a tensor whose name begins so
  const std::map<std::string, const TensorView*, std::less<>>& all() const { return tensors_; }
  /// Size of one axis. Error{bad_input} when there is no such tensor or axis.
  int64_t size(std::string_view name, size_t axis) const;
  /// How many of <stem>0<end>, <stem>1<end>, ... there are, without a gap.
  int64_t count(std::string_view stem, std::string_view end) const;

  const std::string& prefix() const { return prefix_; }
  const std::shared_ptr<const TensorFile>& file() const { return file_; }

 private:
  std::shared_ptr<const TensorFile> file_;
  std::string prefix_;
  std::map<std::string, const TensorView*, std::less<>> tensors_;
};

/// What the shapes of an original UNet say.
struct LdmUNetShape {
  int64_t in_channels = 0, out_channels = 0;
  int64_t layers = 0;             ///< layers_per_block
  std::vector<int64_t> channels;  ///< block_out_channels
  std::vector<bool> down_attention, up_attention;
  std::vector<int64_t> depth;  ///< transformer blocks a layer, of each level with attention, else 1
  int64_t context_width = 0;   ///< cross_attention_dim
  bool linear_projection = false;
};
/// `unet`: names without "model.diffusion_model.". Error{bad_input} naming the tensor that contradicts the structure.
LdmUNetShape ldm_unet_shape(const TensorsBelow& unet);

/// A component that lies in a file: derived config, shown tensors.
Component component_in_file(std::string name, std::string class_name, Json config,
                            std::shared_ptr<const TensorFile> weights);
/// CLIP's tokenizer of the installation. `pad_token`: "<|endoftext|>" (SD 1) or "!" (SD 2).
Component clip_tokenizer_component(std::string_view pad_token);

/// What the shapes of an image autoencoder's encoder say, in the keys of diffusers' autoencoders.
Json ldm_encoder_config(const TensorsBelow& vae);
/// AutoencoderKL in original names (vae-ft-mse-840000, or the first_stage_model. of a whole file).
Component ldm_vae_component(const TensorsBelow& vae, int64_t sample_size);

bool is_taesd_decoder(const TensorFile& file);  // single_file_taesd.cpp
bool is_taesd_file(const TensorFile& file);
/// AutoencoderTiny out of either.
Component taesd_component(const std::shared_ptr<const TensorFile>& file);

using Components = std::map<std::string, Component, std::less<>>;
struct SingleFileLayout {
  std::string_view about;  ///< "Stable Diffusion 1.x and 2.x"
  std::string_view pipeline_class;
  bool (*recognises)(const TensorFile& file);
  Components (*open)(std::shared_ptr<const TensorFile> file);
};

bool is_stable_diffusion_file(const TensorFile& file);  // single_file_sd.cpp
Components open_stable_diffusion_file(std::shared_ptr<const TensorFile> file);
bool is_stable_video_file(const TensorFile& file);  // single_file_svd.cpp
Components open_stable_video_file(std::shared_ptr<const TensorFile> file);

/// The row that knows this file, or null.
const SingleFileLayout* single_file_layout(const TensorFile& file);
/// Whether `file` looks like a whole model: by extension and, if so, by its tensors' names. Never throws.
bool is_single_file_checkpoint(const std::filesystem::path& file);
/// Error{bad_input} saying what the file is instead, where that can be told.
Checkpoint open_single_file(const std::filesystem::path& file);

/// The component `name` of a weight file in an original spelling (a whole model, a VAE, a motion module), or nothing
/// when the file is not one: its names are then diffusers'.
std::optional<Component> original_component(std::string_view name, const std::filesystem::path& file);

/// Warns of tensors that belong to no known part, except buffers that training code leaves behind.
void warn_of_unknown_tensors(const TensorFile& file, const std::vector<std::string>& known_prefixes);

}  // namespace t2v::io
