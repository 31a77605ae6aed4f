// SPDX-License-Identifier: Apache-2.0
// LoRA files (Hu et al. 2021, arXiv 2106.09685), read without libtorch: which tensors belong together, which module
// each group changes in one spelling for all trainers, and how strongly. What the tensors do to a weight is
// models/lora's.
//
// Namings understood: diffusers and PEFT (`unet.X.lora_A.weight`, `unet.X.lora.down.weight`), diffusers' attention
// processors (`X.processor.to_q_lora.down.weight`), kohya and A1111 (`lora_unet_X.lora_down.weight`, with diffusers' or
// LDM's block names), AnimateDiff MotionLoRA (original and converted), LyCORIS' full differences (`X.diff`,
// `X.diff_b`).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/tensor_file.hpp"

namespace t2v::io {

enum class LoraNaming { peft, diffusers, attention_processors, kohya, full_difference };
std::string_view lora_naming(LoraNaming);  ///< for people: "kohya (A1111)"

/// All tensors of a file that change one module. Views live as long as the LoraFile.
struct LoraModule {
  std::string component;  ///< "unet", "text_encoder", "text_encoder_2", ...
  std::string key;        ///< module_key() of the module's dotted name
  std::string stored;     ///< the module as the file spells it, for messages
  LoraNaming naming = LoraNaming::peft;
  /// weight += scale * up * (mid *) down, with down [r, in, ...], up [out, r, ...], mid [r, r, kh, kw]; all or none.
  const TensorView *down = nullptr, *up = nullptr, *mid = nullptr;
  const TensorView* diff = nullptr;       ///< weight += diff
  const TensorView* bias_diff = nullptr;  ///< bias += bias_diff
  double scale = 1;                       ///< alpha / rank; 1 where the file names no alpha
  int64_t rank = 0;                       ///< 0 without down and up
  std::vector<std::string> tensors;       ///< names in the file, alpha included
};

class LoraFile {
 public:
  /// Opens a file, or a folder as diffusers' save_lora_weights() and PEFT's save_pretrained() write it. Throws
  /// Error{bad_input} for damaged files and for half a pair, Error{unsupported} naming DoRA, LoHa, LoKr and others.
  static LoraFile open(const std::filesystem::path& path);
  /// The same for tensors that are open already. `adapter_config`: PEFT's adapter_config.json, may be empty.
  LoraFile(std::shared_ptr<const TensorFile> file, const std::string& adapter_config);

  const std::vector<LoraModule>& modules() const { return modules_; }       ///< in the order of their keys
  const std::vector<std::string>& strangers() const { return strangers_; }  ///< tensors that are no part of a LoRA
  size_t tensor_count() const;
  std::string where() const;                            ///< file name for messages
  std::filesystem::path path() const { return path_; }  ///< the file that was opened
  const TensorFile& file() const { return *file_; }

  std::string naming() const;          ///< "kohya (A1111)"; several joined with " and "
  std::vector<int64_t> ranks() const;  ///< sorted, each once
  std::map<std::string, int64_t> modules_by_component() const;
  bool is_motion_only() const;  ///< changes nothing but temporal modules of AnimateDiff
  /// What the file was made for, by its metadata and by the width of the text it attends to; empty: nothing says it.
  std::string base_hint() const;

 private:
  void read_tensors();
  void read_alphas(const std::string& adapter_config);
  void finish_modules();

  std::shared_ptr<const TensorFile> file_;
  std::filesystem::path path_;
  std::vector<LoraModule> modules_;
  std::map<std::string, std::vector<double>> alphas_;  ///< by module: component + ' ' + key
  std::vector<std::string> strangers_;
};

/// The spelling in which modules are compared: '_' for '.', without what trainers add or drop. Takes the names of
/// networks as well as those of files, after their component's prefix is gone.
std::string module_key(std::string_view module_name);

/// The key in diffusers' naming of a module of an LDM UNet with `layers` residual blocks a level:
/// "input_blocks_1_1_proj_in" -> "down_blocks_0_attentions_0_proj_in". Other keys come back as they were.
std::string key_of_ldm(std::string_view key, int64_t layers);

}  // namespace t2v::io
