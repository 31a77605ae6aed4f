// SPDX-License-Identifier: Apache-2.0
#include "io/single_file.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "core/log.hpp"
#include "core/text.hpp"
#include "io/json_error.hpp"
#include "io/motion_module.hpp"
#include "t2v/error.hpp"

namespace t2v::io {

namespace {

namespace fs = std::filesystem;

constexpr std::array kLayouts{
    SingleFileLayout{"Stable Diffusion 1.x or 2.x", "StableDiffusionPipeline", is_stable_diffusion_file,
                     open_stable_diffusion_file},
    SingleFileLayout{"Stable Video Diffusion", "StableVideoDiffusionPipeline", is_stable_video_file,
                     open_stable_video_file},
};

/// What a file is that is no whole model, and what to do with it; nothing when it can't be told.
struct OtherKind {
  std::string what, hint;
};

std::optional<OtherKind> other_kind(const TensorFile& file) {
  const auto& tensors = file.tensors();
  const auto any = [&](auto test) {
    return std::any_of(tensors.begin(), tensors.end(), [&](const auto& item) { return test(item.first); });
  };
  const auto contains = [&](std::string_view part) {
    return any([&](const std::string& name) { return name.find(part) != std::string::npos; });
  };
  if (is_motion_module(file))
    return OtherKind{"a motion module", "give it with --motion-module beside a Stable Diffusion 1.5 model"};
  if (contains("lora_") || contains(".lora.")) return OtherKind{"a LoRA", "give it with --lora beside a model"};
  if (contains("conditioner.embedders.1.")) return OtherKind{"a Stable Diffusion XL checkpoint", ""};
  if (contains("double_blocks.") || contains("joint_blocks.")) return OtherKind{"a transformer image model", ""};
  if (is_taesd_decoder(file) || is_taesd_file(file))
    return OtherKind{"TAESD, a small autoencoder", "give it with --vae beside a model"};
  if (tensors.contains("encoder.conv_in.weight"))
    return OtherKind{"an autoencoder", "give it with --vae beside a model"};
  if (contains("time_embedding.linear_1.weight")) {
    return OtherKind{"the UNet of a model folder", "give the folder above it, or this file with --unet beside a model"};
  }
  return std::nullopt;
}

bool is_training_leftover(std::string_view name) {
  static constexpr std::array<std::string_view, 15> kNames{"betas",
                                                           "alphas_cumprod",
                                                           "alphas_cumprod_prev",
                                                           "sqrt_alphas_cumprod",
                                                           "sqrt_one_minus_alphas_cumprod",
                                                           "log_one_minus_alphas_cumprod",
                                                           "sqrt_recip_alphas_cumprod",
                                                           "sqrt_recipm1_alphas_cumprod",
                                                           "logvar",
                                                           "lvlb_weights",
                                                           "scale_factor",
                                                           "v_pred",
                                                           "ztsnr",
                                                           "global_step",
                                                           "log_one_minus_alphas"};
  static constexpr std::array<std::string_view, 6> kStarts{"model_ema.",         "posterior_", "denoiser.",
                                                           "embedding_manager.", "loss.",      "callbacks"};
  return std::ranges::find(kNames, name) != kNames.end() ||
         std::ranges::any_of(kStarts, [&](std::string_view start) { return name.starts_with(start); });
}

}  // namespace

TensorsBelow::TensorsBelow(std::shared_ptr<const TensorFile> file, std::string prefix)
    : file_(std::move(file)), prefix_(std::move(prefix)) {
  for (const auto& [name, view] : file_->tensors()) {
    if (name.starts_with(prefix_)) tensors_.emplace(name.substr(prefix_.size()), &view);
  }
}

bool TensorsBelow::has_start(std::string_view start) const {
  const auto found = tensors_.lower_bound(start);
  return found != tensors_.end() && found->first.starts_with(start);
}

int64_t TensorsBelow::size(std::string_view name, size_t axis) const {
  const auto found = tensors_.find(name);
  const std::string full = prefix_ + std::string(name);
  if (found == tensors_.end()) {
    throw Error(ErrorCode::bad_input, "bad checkpoint: " + file_->where() + ": wanted a tensor " + full + ", got none");
  }
  const auto& shape = found->second->shape;
  if (axis >= shape.size() || shape[axis] < 1) {
    throw Error(ErrorCode::bad_input, "bad checkpoint: " + file_->where() + ": " + full + ": wanted more than " +
                                          std::to_string(axis) + " axes, got " + join_ints(shape));
  }
  return shape[axis];
}

int64_t TensorsBelow::count(std::string_view stem, std::string_view end) const {
  int64_t n = 0;
  while (has(std::string(stem) + std::to_string(n) + std::string(end))) ++n;
  return n;
}

Component component_in_file(std::string name, std::string class_name, Json config,
                            std::shared_ptr<const TensorFile> weights) {
  Component part{std::move(name), std::move(class_name), weights->where(), weights->where()};
  part.derived_config = std::make_shared<const Json>(std::move(config));
  part.shown_weights = std::move(weights);
  return part;
}

Component clip_tokenizer_component(std::string_view pad_token) {
  const std::string folder = pad_token == "!" ? "clip-tokenizer-2" : "clip-tokenizer";
  return {"tokenizer", "CLIPTokenizer", own_file(folder)};
}

const SingleFileLayout* single_file_layout(const TensorFile& file) {
  for (const auto& layout : kLayouts) {
    if (layout.recognises(file)) return &layout;
  }
  return nullptr;
}

bool is_single_file_checkpoint(const fs::path& file) {
  static constexpr std::array<std::string_view, 4> kExtensions{".safetensors", ".ckpt", ".pt", ".pth"};
  std::error_code ignored;
  const std::string extension = file.extension().string();
  if (std::ranges::find(kExtensions, extension) == kExtensions.end() || !fs::is_regular_file(file, ignored))
    return false;
  try {
    return single_file_layout(*open_tensor_file(file)) != nullptr;
  } catch (const Error&) {
    return false;
  }
}

Checkpoint open_single_file(const fs::path& path) {
  const auto file = open_tensor_file(path);
  if (const auto* layout = single_file_layout(*file)) {
    Json index{{"_class_name", layout->pipeline_class}};
    return Checkpoint::made_of(path, Config(std::move(index), path.string()), layout->open(file));
  }
  std::vector<std::string> known;
  for (const auto& layout : kLayouts) known.emplace_back(layout.about);
  const auto other = other_kind(*file);
  const std::string first =
      file->tensors().empty() ? "no tensors" : "tensors like '" + printable(file->tensors().begin()->first, 80) + "'";
  throw Error(other && other->hint.empty() ? ErrorCode::unsupported : ErrorCode::bad_input,
              "bad model: " + path.string() + ": wanted a whole model in one file (" + join(known, ", ") + "), got " +
                  (other ? other->what : first),
              other ? other->hint : "give a folder in diffusers' layout, or a single-file checkpoint of those models");
}

std::optional<Component> original_component(std::string_view name, const fs::path& path) {
  const auto file = open_tensor_file(path);
  if (const auto* layout = single_file_layout(*file)) {
    Components parts = layout->open(file);
    if (const auto found = parts.find(name); found != parts.end()) return found->second;
  }
  if (name == "vae") {
    for (const std::string prefix : {"first_stage_model.", ""}) {
      const TensorsBelow vae(file, prefix);
      if (vae.has("decoder.mid.block_1.norm1.weight")) return ldm_vae_component(vae, /*sample_size=*/512);
    }
  }
  // Beside a file of a diffusers folder is the config that its maker wrote; published folders hold TAESD in both
  // spellings.
  const bool has_config = fs::exists(path.parent_path() / "config.json");
  if (name == "vae" && (is_taesd_decoder(*file) || (!has_config && is_taesd_file(*file)))) return taesd_component(file);
  if (name == "motion_adapter" && !has_config && is_motion_module(*file)) return motion_module_component(file);
  return std::nullopt;
}

void warn_of_unknown_tensors(const TensorFile& file, const std::vector<std::string>& known_prefixes) {
  std::vector<std::string> unknown;
  for (const auto& [name, view] : file.tensors()) {
    const bool known =
        std::ranges::any_of(known_prefixes, [&name = name](const auto& prefix) { return name.starts_with(prefix); });
    if (!known && !is_training_leftover(name)) unknown.push_back(printable(name, 80));
  }
  if (unknown.empty()) return;
  const size_t count = unknown.size();
  unknown.resize(std::min<size_t>(count, 5));
  log::warn("{}: {} tensors belong to no part of the model and are left out: {}{}", file.where(), count,
            join(unknown, ", "), count > unknown.size() ? ", ..." : "");
}

}  // namespace t2v::io
