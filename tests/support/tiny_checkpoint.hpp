// SPDX-License-Identifier: Apache-2.0
// A whole ModelScope-family checkpoint of about 2 MB in a folder, rebuilt from tests/golden/pipelines/pipelines.json:
// the same weights that scripts/golden/pipelines.py ran in diffusers.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "io/config.hpp"
#include "support/formula_weights.hpp"
#include "text/text_files.hpp"

namespace t2v::test {

inline void write_text(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

inline io::Json pipelines_golden() {
  return io::load_json(std::filesystem::path(T2V_TEST_DATA) / "golden/pipelines/pipelines.json");
}

/// A tokenizer folder as the published checkpoints have it, with CLIP's vocabulary.
inline void write_clip_tokenizer(const std::filesystem::path& folder, const std::string& pad_token) {
  write_text(folder / "vocab.json", clip_vocabulary().dump());
  std::filesystem::copy_file(kMerges, folder / "merges.txt");
  write_text(folder / "tokenizer_config.json", R"({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77})");
  write_text(folder / "special_tokens_map.json",
             R"({"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", )"
             R"("pad_token": ")" +
                 pad_token + "\"}");
}

/// Writes model_index.json and all components; `scheduler` is the scheduler_config.json.
inline void write_tiny_checkpoint(const std::filesystem::path& folder, const io::Json& golden,
                                  const io::Json& scheduler) {
  const auto component = [&](const std::string& name, const std::string& weights) {
    write_text(folder / name / "config.json", golden["configs"][name].dump());
    write_formula_checkpoint(folder / name / weights, read_manifest(golden["tensors"][name]));
  };
  component("unet", "diffusion_pytorch_model.safetensors");
  component("vae", "diffusion_pytorch_model.safetensors");
  component("text_encoder", "model.safetensors");
  write_text(folder / "scheduler/scheduler_config.json", scheduler.dump());
  write_clip_tokenizer(folder / "tokenizer", /*pad_token=*/"!");
  write_text(folder / "model_index.json", R"({
    "_class_name": "TextToVideoSDPipeline", "_diffusers_version": "0.42.1",
    "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet3DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"]})");
}

}  // namespace t2v::test
