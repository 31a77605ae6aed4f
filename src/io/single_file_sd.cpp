// SPDX-License-Identifier: Apache-2.0
// Stable Diffusion 1.x and 2.x in one file: UNet below model.diffusion_model., autoencoder below first_stage_model.,
// text encoder below cond_stage_model. (CLIP ViT-L of transformers, or OpenCLIP ViT-H). Sizes are read off the tensors;
// what shapes can't say (head counts, activations, schedules) is what the published models have, each with its source.
#include <cmath>
#include <cstring>

#include "io/ldm_names.hpp"
#include "io/mmap_file.hpp"
#include "io/single_file.hpp"
#include "t2v/error.hpp"

namespace t2v::io {

namespace {

constexpr std::string_view kUNet = "model.diffusion_model.", kVae = "first_stage_model.",
                           kClip = "cond_stage_model.transformer.", kOpenClip = "cond_stage_model.model.";
constexpr int64_t kGroups = 32;     // of every GroupNorm
constexpr int64_t kHeadWidth = 64;  // of SD 2's UNet (v2-inference.yaml: num_head_channels) and of both text encoders
constexpr int64_t kSd1Heads = 8;    // v1-inference.yaml: num_heads
constexpr int64_t kMaxLevels = 12;

[[noreturn]] void bad(const TensorsBelow& part, const std::string& what) {
  throw Error(ErrorCode::bad_input, "bad checkpoint: " + part.file()->where() + ": " + what);
}

std::string dotted(std::string_view stem, int64_t index, std::string_view rest) {
  return std::string(stem) + std::to_string(index) + std::string(rest);
}

/// One element as a number; 0 for integer dtypes, which hold no weights.
double element(const TensorView& view, size_t index) {
  const auto read = [&](auto& value) { std::memcpy(&value, view.bytes.data() + index * sizeof value, sizeof value); };
  if (view.dtype == DType::f32) {
    float value = 0;
    read(value);
    return value;
  }
  uint16_t bits = 0;
  if (view.dtype == DType::bf16) {
    read(bits);
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float value = 0;
    std::memcpy(&value, &wide, sizeof value);
    return value;
  }
  if (view.dtype != DType::f16) return 0;
  read(bits);
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const double size = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return bits >> 15 ? -size : size;
}

/// SD 2 at 768 pixels predicts v and SD 2 at 512 pixels noise, with the same shapes. A bias of the last transformer
/// tells them apart: its standard deviation is above 0.09 in v models (the rule of ComfyUI, supported_models.py
/// SD20.model_type).
bool looks_like_v_prediction(const TensorsBelow& unet, int64_t last_block) {
  constexpr double kThreshold = 0.09;
  const auto found = unet.all().find(dotted("output_blocks.", last_block, ".1.transformer_blocks.0.norm1.bias"));
  if (found == unet.all().end() || !found->second->strides.empty()) return false;
  const auto count = found->second->bytes.size() / static_cast<size_t>(dtype_size(found->second->dtype));
  double sum = 0, squares = 0;
  for (size_t i = 0; i < count; ++i) {
    const double value = element(*found->second, i);
    sum += value;
    squares += value * value;
  }
  const double mean = sum / static_cast<double>(count);
  return std::sqrt(squares / static_cast<double>(count) - mean * mean) > kThreshold;
}

/// `parameterization: "v"` in the original config that users keep beside a checkpoint under its name.
std::optional<bool> v_prediction_beside(std::filesystem::path file) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file.replace_extension(".yaml"), ignored)) return std::nullopt;
  const std::string text = read_file(file, size_t{1} << 20);
  const size_t key = text.find("parameterization:");
  if (key == text.npos) return false;
  const size_t value = text.find_first_not_of(" \t\"'", key + 17);
  return value != text.npos && text[value] == 'v';
}

Json attention_types(const std::vector<bool>& attention, const char* with, const char* without) {
  Json types = Json::array();
  for (const bool has : attention) types.push_back(has ? with : without);
  return types;
}

Component unet_component(const TensorsBelow& unet, const LdmUNetShape& shape, bool v_prediction) {
  Json heads = Json::array();
  for (const int64_t channels : shape.channels) {
    heads.push_back(shape.linear_projection && channels % kHeadWidth == 0 ? channels / kHeadWidth : kSd1Heads);
  }
  Json config{{"_class_name", "UNet2DConditionModel"},
              {"sample_size", v_prediction ? 96 : 64},
              {"in_channels", shape.in_channels},
              {"out_channels", shape.out_channels},
              {"block_out_channels", shape.channels},
              {"layers_per_block", shape.layers},
              {"down_block_types", attention_types(shape.down_attention, "CrossAttnDownBlock2D", "DownBlock2D")},
              {"up_block_types", attention_types(shape.up_attention, "CrossAttnUpBlock2D", "UpBlock2D")},
              {"transformer_layers_per_block", shape.depth},
              {"cross_attention_dim", shape.context_width},
              {"attention_head_dim", heads},
              {"use_linear_projection", shape.linear_projection},
              {"norm_num_groups", kGroups}};
  TensorNames names;
  for (const auto& [name, view] : unet.all()) {
    show_as(names, *unet.file(), ldm_unet_name(name, shape.layers), {unet.prefix() + name});
  }
  return component_in_file("unet", "UNet2DConditionModel", std::move(config), show_tensors(unet.file(), names));
}

Json text_config(int64_t vocabulary, int64_t width, int64_t positions, int64_t layers, int64_t inner,
                 const char* activation) {
  // Ids of the tokens are wrong in the published configs too; transformers then takes the largest id for the end.
  return {{"architectures", {"CLIPTextModel"}},
          {"vocab_size", vocabulary},
          {"hidden_size", width},
          {"max_position_embeddings", positions},
          {"num_hidden_layers", layers},
          {"intermediate_size", inner},
          {"num_attention_heads", std::max<int64_t>(1, width / kHeadWidth)},
          {"hidden_act", activation},
          {"eos_token_id", 2}};
}

/// transformers' own names; only what CLIPTextModel has.
Component clip_component(const TensorsBelow& clip) {
  const std::string root = clip.has_start("text_model.") ? "text_model." : "";
  TensorNames names;
  for (const auto& [name, view] : clip.all()) {
    const bool is_unused = name.ends_with("position_ids") || name.ends_with("text_projection.weight") ||
                           name.ends_with("logit_scale") || name.starts_with("vision_model.") ||
                           name.starts_with("visual_projection.");
    if (is_unused) continue;
    show_as(names, *clip.file(), name.starts_with(root) ? name.substr(root.size()) : name, {clip.prefix() + name});
  }
  Json config = text_config(clip.size(root + "embeddings.token_embedding.weight", 0),
                            clip.size(root + "embeddings.token_embedding.weight", 1),
                            clip.size(root + "embeddings.position_embedding.weight", 0),
                            clip.count(root + "encoder.layers.", ".layer_norm1.weight"),
                            clip.size(root + "encoder.layers.0.mlp.fc1.weight", 0), "quick_gelu");
  return component_in_file("text_encoder", "CLIPTextModel", std::move(config), show_tensors(clip.file(), names));
}

/// SD 2 reads the last layer but one, so diffusers' encoder has one layer less than the file.
Component openclip_component(const TensorsBelow& clip) {
  const int64_t layers = clip.count("transformer.resblocks.", ".ln_1.weight") - 1;
  if (layers < 1) bad(clip, "wanted a text encoder of at least 2 layers, got " + std::to_string(layers + 1));
  const std::string last = dotted("transformer.resblocks.", layers, ".");
  TensorNames names;
  for (const auto& [name, view] : clip.all()) {
    const bool is_unused = name.starts_with(last) || name == "text_projection" || name == "logit_scale" ||
                           name == "attn_mask" || name.starts_with("visual.");
    if (is_unused) continue;
    auto shown = openclip_text_names(name);
    if (shown.empty()) shown.push_back({name});
    for (const auto& [own, index, count] : shown) {
      show_as(names, *clip.file(), own, {clip.prefix() + name, index, count});
    }
  }
  Json config = text_config(clip.size("token_embedding.weight", 0), clip.size("token_embedding.weight", 1),
                            clip.size("positional_embedding", 0), layers,
                            clip.size("transformer.resblocks.0.mlp.c_fc.weight", 0), "gelu");
  return component_in_file("text_encoder", "CLIPTextModel", std::move(config), show_tensors(clip.file(), names));
}

/// scheduler_config.json of stable-diffusion-v1-5 and 2-1-base (PNDM), and of stable-diffusion-2-1 (DDIM, v).
Component scheduler_component(const std::filesystem::path& file, bool v_prediction, bool zero_snr) {
  Json config{{"_class_name", v_prediction ? "DDIMScheduler" : "PNDMScheduler"},
              {"beta_start", 0.00085},
              {"beta_end", 0.012},
              {"beta_schedule", "scaled_linear"},
              {"clip_sample", false},
              {"num_train_timesteps", 1000},
              {"prediction_type", v_prediction ? "v_prediction" : "epsilon"},
              {"set_alpha_to_one", false},
              {"skip_prk_steps", true},
              {"steps_offset", 1}};
  if (zero_snr) {
    config["rescale_betas_zero_snr"] = true;
    config["timestep_spacing"] = "trailing";  // arXiv 2305.08891, section 3.3
  }
  Component part{"scheduler", config["_class_name"].get<std::string>(), file};
  part.derived_config = std::make_shared<const Json>(std::move(config));
  return part;
}

}  // namespace

LdmUNetShape ldm_unet_shape(const TensorsBelow& unet) {
  LdmUNetShape shape;
  const int64_t first = unet.size("input_blocks.0.0.weight", 0);
  shape.in_channels = unet.size("input_blocks.0.0.weight", 1);
  shape.out_channels = unet.size("out.2.weight", 0);
  int64_t blocks = 1;  // of input_blocks
  while (unet.has_start(dotted("input_blocks.", blocks, "."))) ++blocks;
  int64_t until_op = 1;  // a level is its layers and a downsampler
  while (until_op < blocks && !unet.has(dotted("input_blocks.", until_op, ".0.op.weight"))) ++until_op;
  shape.layers = until_op - 1;
  const int64_t stride = shape.layers + 1;
  const int64_t levels = blocks / stride;
  if (shape.layers < 1 || blocks % stride != 0 || levels > kMaxLevels) {
    bad(unet, "wanted levels of equally many input_blocks, got " + std::to_string(blocks) +
                  " of which the first level has " + std::to_string(until_op));
  }
  const auto transformer = [&](const char* side, int64_t block) {
    return dotted(side, block, ".1.transformer_blocks.");
  };
  for (int64_t level = 0; level < levels; ++level) {
    const int64_t down = 1 + level * stride, up = level * stride;
    shape.channels.push_back(unet.size(dotted("input_blocks.", down, ".0.out_layers.3.weight"), 0));
    shape.down_attention.push_back(unet.has_start(dotted("input_blocks.", down, ".1.")));
    shape.up_attention.push_back(unet.has_start(dotted("output_blocks.", up, ".1.transformer_blocks.")));
    shape.depth.push_back(std::max<int64_t>(1, unet.count(transformer("input_blocks.", down), ".norm1.weight")));
    if (shape.context_width == 0 && shape.down_attention.back()) {
      shape.context_width = unet.size(transformer("input_blocks.", down) + "0.attn2.to_k.weight", 1);
    }
  }
  if (shape.channels.front() != first) bad(unet, "input_blocks.0 and input_blocks.1 have different widths");
  shape.linear_projection = unet.has("middle_block.1.proj_in.weight") &&
                            unet.all().find("middle_block.1.proj_in.weight")->second->shape.size() == 2;
  if (shape.context_width == 0) {
    shape.context_width = unet.size("middle_block.1.transformer_blocks.0.attn2.to_k.weight", 1);
  }
  return shape;
}

Json ldm_encoder_config(const TensorsBelow& vae) {
  const int64_t levels = vae.count("encoder.down.", ".block.0.norm1.weight");
  if (levels < 1 || levels > kMaxLevels)
    bad(vae, "wanted an autoencoder of 1 to 12 levels, got " + std::to_string(levels));
  Json channels = Json::array(), down = Json::array();
  for (int64_t level = 0; level < levels; ++level) {
    channels.push_back(vae.size(dotted("encoder.down.", level, ".block.0.conv1.weight"), 0));
    down.push_back("DownEncoderBlock2D");
  }
  return {{"in_channels", vae.size("encoder.conv_in.weight", 1)},
          {"block_out_channels", channels},
          {"down_block_types", down},
          {"layers_per_block", vae.count("encoder.down.0.block.", ".norm1.weight")},
          {"scaling_factor", 0.18215}};
}

Component ldm_vae_component(const TensorsBelow& vae, int64_t sample_size) {
  Json config = ldm_encoder_config(vae);
  const auto levels = static_cast<int64_t>(config["block_out_channels"].size());
  config.update({{"_class_name", "AutoencoderKL"},
                 {"out_channels", vae.size("decoder.conv_out.weight", 0)},
                 {"latent_channels", vae.size("decoder.conv_in.weight", 1)},
                 {"up_block_types", std::vector<std::string>(static_cast<size_t>(levels), "UpDecoderBlock2D")},
                 {"norm_num_groups", kGroups},
                 {"sample_size", sample_size},
                 {"use_quant_conv", vae.has("quant_conv.weight")},
                 {"use_post_quant_conv", vae.has("post_quant_conv.weight")}});
  TensorNames names;
  for (const auto& [name, view] : vae.all()) {
    const bool is_unused = name.starts_with("loss.") || name.starts_with("model_ema.");
    if (!is_unused) show_as(names, *vae.file(), ldm_vae_name(name, levels), {vae.prefix() + name});
  }
  return component_in_file("vae", "AutoencoderKL", std::move(config), show_tensors(vae.file(), names));
}

bool is_stable_diffusion_file(const TensorFile& file) {
  const auto has = [&](std::string_view name) {
    return file.tensors().contains(std::string(kUNet) + std::string(name));
  };
  // Video and XL models share the spelling, not the structure.
  return has("input_blocks.0.0.weight") && has("out.2.weight") && !has("label_emb.0.0.weight") &&
         !has("input_blocks.1.0.time_stack.in_layers.0.weight");
}

Components open_stable_diffusion_file(std::shared_ptr<const TensorFile> file) {
  const TensorsBelow unet(file, std::string(kUNet)), vae(file, std::string(kVae)), clip(file, std::string(kClip)),
      openclip(file, std::string(kOpenClip));
  const LdmUNetShape shape = ldm_unet_shape(unet);
  const bool is_sd2 = !openclip.empty() || shape.linear_projection;
  const int64_t last_block = static_cast<int64_t>(shape.channels.size()) * (shape.layers + 1) - 1;
  const bool v_prediction =
      v_prediction_beside(file->where())
          .value_or(file->tensors().contains("v_pred") || (is_sd2 && looks_like_v_prediction(unet, last_block)));
  Components parts;
  const auto add = [&](Component part) { parts.emplace(part.name, std::move(part)); };
  add(unet_component(unet, shape, v_prediction));
  if (!vae.empty()) add(ldm_vae_component(vae, is_sd2 ? 768 : 512));
  if (!openclip.empty()) {
    add(openclip_component(openclip));
  } else if (!clip.empty()) {
    add(clip_component(clip));
  }
  add(clip_tokenizer_component(is_sd2 ? "!" : "<|endoftext|>"));
  add(scheduler_component(file->where(), v_prediction, file->tensors().contains("ztsnr")));
  warn_of_unknown_tensors(*file, {std::string(kUNet), std::string(kVae), "cond_stage_model."});
  return parts;
}

}  // namespace t2v::io
