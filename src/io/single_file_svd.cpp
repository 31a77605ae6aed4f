// SPDX-License-Identifier: Apache-2.0
// Stable Video Diffusion in one file (svd.safetensors, svd_xt.safetensors, svd_xt_1_1.safetensors): UNet below
// model.diffusion_model., temporal decoder below first_stage_model., OpenCLIP's image tower and the image autoencoder
// below conditioner.embedders.N. Spelled as Stability's sgm (openaimodel.py VideoUNet, video_attention.py,
// temporal_ae.py); the UNet's correspondence is the one of diffusers' scripts/convert_svd_to_diffusers.py.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "io/ldm_names.hpp"
#include "io/single_file.hpp"
#include "t2v/error.hpp"

namespace t2v::io {

namespace {

constexpr std::string_view kUNet = "model.diffusion_model.", kVae = "first_stage_model.", kConditioner = "conditioner.";
constexpr std::string_view kVisual = ".open_clip.model.visual.", kEncoder = ".encoder.encoder.";
constexpr std::string_view kTimeStack = "time_stack.";
constexpr int64_t kHeadWidth = 64;                  // svd.yaml: num_head_channels
constexpr int64_t kTimeIds = 3;                     // frame rate, motion, noise: a third of label_emb's input each
constexpr int64_t kVisionHeadWidth = 80;            // ViT-H/14 of OpenCLIP: 16 heads of 1280
constexpr int64_t kLongClip = 25, kShortClip = 14;  // svd_xt and svd have the same tensors

bool take(std::string_view& text, std::string_view start) {
  if (!text.starts_with(start)) return false;
  text.remove_prefix(start.size());
  return true;
}

/// Inside a video residual block: space, time, or what mixes them.
std::string video_resnet_leaf(std::string_view leaf) {
  if (take(leaf, kTimeStack)) return "temporal_res_block." + ldm_resnet_leaf(leaf);
  if (leaf.starts_with("time_mixer.")) return std::string(leaf);
  return "spatial_res_block." + ldm_resnet_leaf(leaf);
}

std::string video_attention_leaf(std::string_view leaf) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kStarts{
      {{kTimeStack, "temporal_transformer_blocks."},
       {"time_pos_embed.0.", "time_pos_embed.linear_1."},
       {"time_pos_embed.2.", "time_pos_embed.linear_2."}}};
  for (const auto& [from, to] : kStarts) {
    std::string_view rest = leaf;
    if (take(rest, from)) return std::string(to) + std::string(rest);
  }
  return std::string(leaf);
}

std::string video_unet_name(std::string_view name, int64_t layers) {
  const auto module = ldm_unet_module(name, layers);
  if (!module || module->kind == LdmModule::Kind::plain) return ldm_unet_name(name, layers);
  const bool is_resnet = module->kind == LdmModule::Kind::resnet;
  return module->path + "." + (is_resnet ? video_resnet_leaf(module->leaf) : video_attention_leaf(module->leaf));
}

/// Of the temporal decoder: "mid_block.resnets.0." before the leaf of a block as ldm_vae_name() gives it.
std::string video_decoder_name(std::string_view name, int64_t levels) {
  if (take(name, "decoder.conv_out.time_mix_conv.")) return "decoder.time_conv_out." + std::string(name);
  const std::string image_name = ldm_vae_name(name, levels);
  constexpr std::string_view kResnets = ".resnets.";
  const size_t at = image_name.find(kResnets);
  if (at == std::string::npos) return image_name;
  std::string_view leaf = std::string_view(image_name).substr(at + kResnets.size());
  const auto index = take_index(leaf);
  if (!index) return image_name;
  const std::string block = image_name.substr(0, at) + std::string(kResnets) + std::to_string(*index) + ".";
  if (leaf == "mix_factor") return block + "time_mixer.mix_factor";
  if (take(leaf, kTimeStack)) return block + "temporal_res_block." + ldm_resnet_leaf(leaf);
  return block + "spatial_res_block." + std::string(leaf);
}

/// The prefix conditioner.embedders.N<end> below which the file has `tensor`; empty when it has none.
std::string embedder_prefix(const TensorFile& file, std::string_view end, std::string_view tensor) {
  for (const auto& [name, view] : file.tensors()) {
    if (name.starts_with(kConditioner) && name.ends_with(std::string(end) + std::string(tensor))) {
      return name.substr(0, name.size() - tensor.size());
    }
  }
  return {};
}

Json types(const std::vector<bool>& attention, const char* with, const char* without) {
  Json list = Json::array();
  for (const bool has : attention) list.push_back(has ? with : without);
  return list;
}

/// The two lengths have the same tensors; the published files are told apart by their names.
int64_t clip_frames(const std::string& path) {
  return std::filesystem::path(path).filename().string().find("xt") == std::string::npos ? kShortClip : kLongClip;
}

Component unet_component(const TensorsBelow& unet) {
  const LdmUNetShape shape = ldm_unet_shape(unet);
  Json heads = Json::array();
  for (const int64_t channels : shape.channels) heads.push_back(std::max<int64_t>(1, channels / kHeadWidth));
  const int64_t added = unet.size("label_emb.0.0.weight", 1);
  Json config{
      {"_class_name", "UNetSpatioTemporalConditionModel"},
      {"sample_size", 96},
      {"in_channels", shape.in_channels},
      {"out_channels", shape.out_channels},
      {"block_out_channels", shape.channels},
      {"layers_per_block", shape.layers},
      {"down_block_types", types(shape.down_attention, "CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal")},
      {"up_block_types", types(shape.up_attention, "CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal")},
      {"transformer_layers_per_block", shape.depth},
      {"cross_attention_dim", shape.context_width},
      {"num_attention_heads", heads},
      {"addition_time_embed_dim", std::max<int64_t>(1, added / kTimeIds)},
      {"projection_class_embeddings_input_dim", added},
      {"num_frames", clip_frames(unet.file()->where())}};
  TensorNames names;
  for (const auto& [name, view] : unet.all()) {
    show_as(names, *unet.file(), video_unet_name(name, shape.layers), {unet.prefix() + name});
  }
  return component_in_file("unet", "UNetSpatioTemporalConditionModel", std::move(config),
                           show_tensors(unet.file(), names));
}

/// The decoder is the first stage's; the encoder is the conditioner's own, whose quant_conv the first stage lacks.
Component vae_component(const TensorsBelow& vae, const TensorsBelow& encoder) {
  Json config = ldm_encoder_config(encoder);
  config.update({{"_class_name", "AutoencoderKLTemporalDecoder"},
                 {"out_channels", vae.size("decoder.conv_out.weight", 0)},
                 {"latent_channels", vae.size("decoder.conv_in.weight", 1)},
                 {"sample_size", 768},
                 {"force_upcast", true}});
  const auto levels = static_cast<int64_t>(config["block_out_channels"].size());
  TensorNames names;
  for (const auto& [name, view] : encoder.all()) {
    const bool is_used = name.starts_with("encoder.") || name.starts_with("quant_conv.");
    if (is_used) show_as(names, *vae.file(), ldm_vae_name(name, levels), {encoder.prefix() + name});
  }
  for (const auto& [name, view] : vae.all()) {
    if (name.starts_with("decoder."))
      show_as(names, *vae.file(), video_decoder_name(name, levels), {vae.prefix() + name});
  }
  return component_in_file("vae", "AutoencoderKLTemporalDecoder", std::move(config), show_tensors(vae.file(), names));
}

Component vision_component(const TensorsBelow& visual) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kStarts{
      {{"ln_pre.", "pre_layrnorm."},
       {"ln_post.", "post_layernorm."},
       {"conv1.", "embeddings.patch_embedding."},
       {"class_embedding", "embeddings.class_embedding"}}};
  TensorNames names;
  const auto show = [&](const std::string& shown, TensorSource source) {
    show_as(names, *visual.file(), shown, std::move(source));
  };
  for (const auto& [name, view] : visual.all()) {
    const std::string stored = visual.prefix() + name;
    std::string_view rest = name;
    if (name == "proj") {
      show("visual_projection.weight", {.stored = stored, .transposed = true});  // x proj, where a layer has x weight^T
      continue;
    }
    if (name == "positional_embedding") {
      show("vision_model.embeddings.position_embedding.weight", {stored});
      continue;
    }
    if (take(rest, "transformer.")) {
      for (const auto& [own, index, count] : openclip_block_names(rest))
        show("vision_model." + own, {stored, index, count});
      continue;
    }
    std::string shown = name;
    for (const auto& [from, to] : kStarts) {
      if (take(rest, from)) shown = std::string(to) + std::string(rest);
    }
    show("vision_model." + shown, {stored});
  }
  const int64_t width = visual.size("conv1.weight", 0), patch = visual.size("conv1.weight", 2);
  const auto side =
      static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(visual.size("positional_embedding", 0) - 1))));
  Json config{{"architectures", {"CLIPVisionModelWithProjection"}},
              {"hidden_size", width},
              {"intermediate_size", visual.size("transformer.resblocks.0.mlp.c_fc.weight", 0)},
              {"projection_dim", visual.size("proj", 1)},
              {"num_hidden_layers", visual.count("transformer.resblocks.", ".ln_1.weight")},
              {"num_attention_heads", std::max<int64_t>(1, width / kVisionHeadWidth)},
              {"num_channels", visual.size("conv1.weight", 1)},
              {"image_size", side * patch},
              {"patch_size", patch},
              {"hidden_act", "gelu"},
              {"layer_norm_eps", 1e-5}};
  return component_in_file("image_encoder", "CLIPVisionModelWithProjection", std::move(config),
                           show_tensors(visual.file(), names));
}

/// scheduler_config.json of stable-video-diffusion-img2vid-xt.
Component scheduler_component(const std::filesystem::path& file) {
  Component part{"scheduler", "EulerDiscreteScheduler", file};
  part.derived_config = std::make_shared<const Json>(Json{{"_class_name", "EulerDiscreteScheduler"},
                                                          {"beta_start", 0.00085},
                                                          {"beta_end", 0.012},
                                                          {"beta_schedule", "scaled_linear"},
                                                          {"num_train_timesteps", 1000},
                                                          {"prediction_type", "v_prediction"},
                                                          {"sigma_max", 700.0},
                                                          {"sigma_min", 0.002},
                                                          {"steps_offset", 1},
                                                          {"timestep_spacing", "leading"},
                                                          {"timestep_type", "continuous"},
                                                          {"use_karras_sigmas", true}});
  return part;
}

}  // namespace

bool is_stable_video_file(const TensorFile& file) {
  const auto has = [&](std::string_view name) {
    return file.tensors().contains(std::string(kUNet) + std::string(name));
  };
  return has("input_blocks.0.0.weight") && has("label_emb.0.0.weight") &&
         has("input_blocks.1.0.time_stack.in_layers.0.weight");
}

Components open_stable_video_file(std::shared_ptr<const TensorFile> file) {
  const auto below = [&](const std::string& prefix, const char* what) {
    if (!prefix.empty()) return TensorsBelow(file, prefix);
    throw Error(ErrorCode::bad_input,
                "bad checkpoint: " + file->where() + ": wanted " + what + " below conditioner., got none");
  };
  const TensorsBelow visual = below(embedder_prefix(*file, kVisual, "conv1.weight"), "OpenCLIP's image tower");
  const std::string encoder = embedder_prefix(*file, kEncoder, "conv_in.weight");
  constexpr size_t kHalf = std::string_view("encoder.").size();  // the image autoencoder begins above its encoder
  const TensorsBelow image_vae =
      below(encoder.empty() ? encoder : encoder.substr(0, encoder.size() - kHalf), "an image autoencoder");
  Components parts;
  const auto add = [&](Component part) { parts.emplace(part.name, std::move(part)); };
  add(unet_component(TensorsBelow(file, std::string(kUNet))));
  add(vae_component(TensorsBelow(file, std::string(kVae)), image_vae));
  add(vision_component(visual));
  add(scheduler_component(file->where()));
  warn_of_unknown_tensors(*file, {std::string(kUNet), std::string(kVae), std::string(kConditioner)});
  return parts;
}

}  // namespace t2v::io
