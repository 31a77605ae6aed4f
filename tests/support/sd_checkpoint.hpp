// SPDX-License-Identifier: Apache-2.0
// The tiny Stable Diffusion checkpoints and motion adapters of tests/golden/stable_diffusion, in every form users have
// them: diffusers folders, one file in original names, motion modules in original names.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "io/config.hpp"
#include "io/tensor_file.hpp"
#include "support/formula_weights.hpp"
#include "support/tiny_checkpoint.hpp"

namespace t2v::test {

inline const io::Json& sd_golden() {
  static const io::Json golden =
      io::load_json(std::filesystem::path(T2V_TEST_DATA) / "golden/stable_diffusion/stable_diffusion.json");
  return golden;
}

inline const io::Json& original_names() {
  static const io::Json names = io::load_json(std::filesystem::path(T2V_TEST_DATA) / "golden/single_file/names.json");
  return names;
}

/// Tensors to be written as one file.
class TensorList {
 public:
  void add(std::string name, Shape shape, std::vector<float> values) {
    tensors_.push_back({std::move(name), std::move(shape), std::move(values)});
  }
  /// Forgets the tensors whose names begin so.
  void drop(const std::string& start) {
    std::erase_if(tensors_, [&](const Entry& entry) { return entry.name.starts_with(start); });
  }
  void write(const std::filesystem::path& file) const {
    std::vector<io::NamedTensor> views;
    for (const auto& [name, shape, values] : tensors_) {
      views.push_back({name, {io::DType::f32, shape, {}, std::as_bytes(std::span(values))}});
    }
    io::write_safetensors(file, views, {{"format", "pt"}});
  }

 private:
  struct Entry {
    std::string name;
    Shape shape;
    std::vector<float> values;
  };
  std::vector<Entry> tensors_;
};

/// Adds every tensor of the manifest under `prefix` + its original name. `names`: diffusers' name -> original name, or
/// [original name, part, parts] where the original holds several.
inline void add_in_original_names(TensorList& list, const Manifest& manifest, const io::Json& names,
                                  const std::string& prefix) {
  struct Parts {
    Shape shape;
    std::vector<std::vector<float>> values;
  };
  std::map<std::string, Parts> fused;
  for (const auto& [full, shape] : manifest) {
    const std::string name = full.starts_with("text_model.") ? full.substr(11) : full;
    const io::Json& original = names.at(name);
    if (original.is_string()) {
      const auto text = original.get<std::string>();
      Shape stored = shape;
      if (text.find("attn_1.") != std::string::npos && shape.size() == 2) stored.insert(stored.end(), {1, 1});
      list.add(prefix + text, stored, formula_weight(full, shape));
      continue;
    }
    Parts& parts = fused[original[0].get<std::string>()];
    parts.shape = shape;
    parts.values.resize(original[2].get<size_t>());
    parts.values[original[1].get<size_t>()] = formula_weight(full, shape);
  }
  for (const auto& [name, parts] : fused) {
    std::vector<float> all;
    for (const auto& part : parts.values) all.insert(all.end(), part.begin(), part.end());
    Shape shape = parts.shape;
    shape[0] *= static_cast<int64_t>(parts.values.size());
    list.add(prefix + name, shape, all);
  }
}

inline Manifest sd_manifest(const std::string& model, const std::string& part) {
  return read_manifest(sd_golden()["models"][model]["tensors"][part]);
}

/// A StableDiffusionPipeline folder.
inline void write_sd_folder(const std::filesystem::path& folder, const std::string& model, const io::Json& scheduler) {
  const io::Json& golden = sd_golden()["models"][model];
  const auto component = [&](const std::string& name, const std::string& weights) {
    write_text(folder / name / "config.json", golden["configs"][name].dump());
    write_formula_checkpoint(folder / name / weights, sd_manifest(model, name));
  };
  component("unet", "diffusion_pytorch_model.safetensors");
  component("vae", "diffusion_pytorch_model.safetensors");
  component("text_encoder", "model.safetensors");
  write_text(folder / "scheduler/scheduler_config.json", scheduler.dump());
  write_clip_tokenizer(folder / "tokenizer", golden["pad_token"].get<std::string>());
  write_text(folder / "model_index.json", R"({
    "_class_name": "StableDiffusionPipeline", "safety_checker": [null, null], "feature_extractor": [null, null],
    "scheduler": ["diffusers", ")" + scheduler["_class_name"].get<std::string>() +
                                              R"("],
    "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]})");
}

/// The tensors of the same model as one file in original names, with what training code leaves in such files.
inline TensorList sd_single_file(const std::string& model) {
  const io::Json& names = original_names();
  TensorList list;
  add_in_original_names(list, sd_manifest(model, "unet"), names["small"]["unet"], "model.diffusion_model.");
  add_in_original_names(list, sd_manifest(model, "vae"), names["small"]["vae"], "first_stage_model.");
  if (model == "sd2") {
    add_in_original_names(list, sd_manifest(model, "text_encoder"), names["open_clip"], "cond_stage_model.model.");
    // The last layer, which Stable Diffusion 2 does not use.
    for (const char* end : {"ln_1.weight", "attn.in_proj_weight", "mlp.c_fc.bias"}) {
      list.add("cond_stage_model.model.transformer.resblocks.2." + std::string(end), {3}, {1, 2, 3});
    }
    list.add("cond_stage_model.model.text_projection", {2, 2}, {1, 2, 3, 4});
    list.add("cond_stage_model.model.logit_scale", {1}, {1});
  } else {
    for (const auto& [full, shape] : sd_manifest(model, "text_encoder")) {
      const std::string name = full.starts_with("text_model.") ? full : "text_model." + full;
      list.add("cond_stage_model.transformer." + name, shape, formula_weight(full, shape));
    }
    list.add("cond_stage_model.transformer.text_model.embeddings.position_ids", {1, 2}, {0, 1});
  }
  for (const char* buffer : {"betas", "alphas_cumprod", "model_ema.decay", "posterior_variance"})
    list.add(buffer, {1}, {1});
  return list;
}

/// A MotionAdapter folder.
inline void write_adapter_folder(const std::filesystem::path& folder, const std::string& version) {
  const io::Json& golden = sd_golden()["adapters"][version];
  write_text(folder / "config.json", golden["config"].dump());
  write_formula_checkpoint(folder / "diffusion_pytorch_model.safetensors", read_manifest(golden["tensors"]));
}

/// The same in original names, as training code saves them. Only for versions whose positions are the usual ones.
inline void write_original_adapter(const std::filesystem::path& file, const std::string& version) {
  const io::Json& golden = sd_golden()["adapters"][version];
  TensorList list;
  const int64_t length = golden["config"]["motion_max_seq_length"].get<int64_t>();
  io::Json names = io::Json::object();
  for (const auto& [name, original] : original_names()["motion_module"].items()) names[name] = original;
  add_in_original_names(list, read_manifest(golden["tensors"]), names, "module.");
  const std::string positions =
      "module.down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder."
      "pe";
  list.add(positions, {1, length, 64}, std::vector<float>(static_cast<size_t>(length * 64), 9.0F));  // never read
  list.write(file);
}

}  // namespace t2v::test
