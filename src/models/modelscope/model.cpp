// SPDX-License-Identifier: Apache-2.0
#include "models/modelscope/model.hpp"

#include <algorithm>
#include <array>

#include "engine/device.hpp"
#include "engine/memory_probe.hpp"
#include "media/video_reader.hpp"
#include "models/clip.hpp"
#include "models/decode.hpp"
#include "models/describe.hpp"
#include "models/modelscope/family.hpp"
#include "models/modelscope/pipeline.hpp"
#include "models/run.hpp"
#include "models/text/run_text.hpp"
#include "nn/packed_convolution.hpp"
#include "t2v/error.hpp"

namespace t2v::models::modelscope {

namespace {

using engine::meta;
using engine::scaled;

// Defaults of the two diffusers pipelines, where a checkpoint names none of its own.
constexpr int64_t kFrames = 16, kSteps = 50;
constexpr int64_t kTrainedFrames = 32;  // ModelScope was trained on 16, ZeroScope on 24; both still hold together at 32
constexpr int64_t kTextTokens = 77;     // for the cost of a call; CLIP's length
constexpr double kCfgScale = 9.0, kVideoCfgScale = 15.0, kVideoStrength = 0.6;

constexpr std::array<std::string_view, 2> kPipelineClasses{"TextToVideoSDPipeline", "VideoToVideoSDPipeline"};

std::unique_ptr<Model> open(io::Checkpoint checkpoint, const LoadOptions& options) {
  return std::make_unique<ModelScopeModel>(std::move(checkpoint), options);
}

int64_t count_frames(const std::filesystem::path& file) {
  const auto video = media::open_video(file);
  std::vector<uint8_t> rgb;
  int64_t frames = 0;
  while (video->next(rgb)) ++frames;
  return frames;
}

}  // namespace

ModelFamily family() { return {"modelscope", kPipelineClasses, open}; }

ModelScopeModel::ModelScopeModel(io::Checkpoint checkpoint, const LoadOptions& options)
    : checkpoint_(std::move(checkpoint)), options_(options), loras_(options.loras) {
  reject_motion_module(options, checkpoint_.pipeline_class());
  placement_ = engine::resolve_placement(options, half_dtype(checkpoint_.component("unet")));
  const auto& unet = checkpoint_.component("unet");
  const auto& vae = checkpoint_.component("vae");
  auto unet_store = WeightStore::header_only(unet.weights());
  const int64_t before_networks = nn::counted_winograd_bytes;
  unet_shapes_ = std::make_unique<UNet3DConditionModel>(UNet3DConfig::from(unet.config()), unet_store.root());
  unet_store.expect_all_taken();
  unet_bytes_ = nn::winograd_bytes_since(before_networks, placement_);
  loras_.bind("unet", unet_store);
  if (!options.loras.empty()) loras_.bind("text_encoder", text::header_store(checkpoint_.component("text_encoder")));
  loras_.finish(checkpoint_.pipeline_class());
  const int64_t before_vae = nn::counted_winograd_bytes;
  auto vae_store = vae::header_store(vae);
  vae_shapes_ = vae::image_autoencoder(vae, vae_store.root());
  vae_store.expect_all_taken();
  check_networks_fit();
  vae_placements_ = vae_placements(placement_, vae_shapes_->latent_space().force_upcast);

  const int64_t text_parameters =
      text::count_parameters(checkpoint_.component("text_encoder"), unet_shapes_->config().cross_attention_dim);
  info_.components = {
      describe(checkpoint_.component("text_encoder"), text_parameters),
      describe(unet, unet_store.parameter_count()),
      describe(vae, vae_store.parameter_count()),
  };
  const int64_t element = c10::elementSize(placement_.dtype);
  const auto vae_bytes = [&](const Placement& placement) {
    return scaled(4 * vae_store.parameter_count(), placement.dtype) + nn::winograd_bytes_since(before_vae, placement);
  };
  text_bytes_ = text_parameters * element;
  vae_bytes_ = vae_bytes(vae_placements_.decoding);
  vae_encoding_bytes_ = vae_bytes(vae_placements_.encoding);
  unet_bytes_ += unet_store.parameter_count() * element;
  read_defaults();
}

void ModelScopeModel::check_networks_fit() const {
  const int64_t wanted = vae_shapes_->latent_space().channels, got = unet_shapes_->config().in_channels;
  if (got == wanted) return;
  throw Error(ErrorCode::unsupported, "unsupported model: " + checkpoint_.path().string() +
                                          ": unet: in_channels: wanted the " + std::to_string(wanted) +
                                          " channels of the autoencoder's latents, got " + std::to_string(got));
}

void ModelScopeModel::read_defaults() {
  info_.name = checkpoint_.path().filename().string();
  info_.family = "modelscope";
  info_.pipeline_class = checkpoint_.pipeline_class();
  info_.content_hash = io::content_hash(checkpoint_);
  info_.loras = loras_.info();
  info_.accepts = {"negative-prompt", "prompt-at", "prompt-syntax", "clip-skip", "video", "strength"};
  const int64_t factor = vae_shapes_->spatial_factor();
  // A checkpoint of ours says what it was made for in model_index.json's "t2v"; others have diffusers' defaults.
  const OwnDefaults own = own_defaults(checkpoint_);
  info_.width = own.width.value_or(unet_shapes_->config().sample_width * factor);
  info_.height = own.height.value_or(unet_shapes_->config().sample_height * factor);
  info_.frames = own.frames.value_or(kFrames);
  info_.steps = own.steps.value_or(kSteps);
  info_.cfg_scale = own.cfg_scale.value_or(kCfgScale);
  info_.fps = own.fps.value_or(Rational{8, 1});
  display_scale_ = own.display_scale.value_or(1);
  limits_.vocabulary = own.vocabulary;

  const io::Config scheduler = checkpoint_.component("scheduler").config();
  limits_.size_multiple = factor;
  limits_.min_size = factor;
  limits_.trained_frames = kTrainedFrames;
  limits_.max_steps = scheduler.get_int("num_train_timesteps", 1000, 1, 100000);
  limits_.default_sampler = checkpoint_.component("scheduler").class_name;
}

Plan ModelScopeModel::plan(const Request& request) const {
  if (request.video.empty() && request.strength) {
    throw Error(ErrorCode::usage, "--strength: wanted with --video, got no --video");
  }
  Plan plan = request.video.empty() ? plan_request(request, info_, limits_) : plan_video_input(request);
  text::check_text(plan.request, plan.frames);
  const int64_t factor = vae_shapes_->spatial_factor();
  plan.latent_shape = {1, unet_shapes_->config().in_channels, plan.frames, *plan.request.height / factor,
                       *plan.request.width / factor};
  if (!request.width && !request.height && request.video.empty()) {
    plan.width *= display_scale_;
    plan.height *= display_scale_;
  }
  plan.device = engine::device_name(placement_);
  plan.dtype = engine::dtype_name(placement_.dtype);
  if (plan.request.rng == RngDevice::cuda && !placement_.device.is_cuda()) {
    throw Error(ErrorCode::usage, "--rng cuda: wanted a run on CUDA, got one on " + plan.device);
  }
  plan_costs(plan);
  check_scheduler(plan, checkpoint_.component("scheduler").config());
  return plan;
}

/// Video to video: size, frame count and rate come from the input file where the request is silent.
Plan ModelScopeModel::plan_video_input(const Request& request) const {
  media::VideoInfo video = media::open_video(request.video)->info();
  if (video.frames == 0) video.frames = count_frames(request.video);
  Request filled = request;
  const int64_t multiple = limits_.size_multiple;
  if (!filled.width) filled.width = video.width / multiple * multiple;
  if (!filled.height) filled.height = video.height / multiple * multiple;
  const bool has_rate = video.fps != Rational{1, 1};  // a numbered sequence has none
  if (!filled.fps && has_rate) filled.fps = video.fps;
  if (!filled.cfg_scale) filled.cfg_scale = kVideoCfgScale;
  if (!filled.strength) filled.strength = kVideoStrength;
  if (!filled.frames && !filled.seconds) filled.frames = video.frames;
  Plan plan = plan_request(filled, info_, limits_);
  if (plan.frames > video.frames) {
    throw Error(ErrorCode::usage, "bad value: --frames: wanted at most the " + std::to_string(video.frames) +
                                      " frames of " + request.video.string() + ", got " + std::to_string(plan.frames));
  }
  return plan;
}

void ModelScopeModel::plan_costs(Plan& plan) const {
  const auto& shape = plan.latent_shape;  // [1, C, F, h, w]
  const int64_t batch = *plan.request.cfg_scale > 1.0 ? 2 : 1;
  const int64_t chunk = std::min(
      plan.frames, plan.request.decode_chunk.value_or(default_decode_chunk(plan, placement_.device.is_cuda())));
  const auto call = engine::probe([&] {
    unet_shapes_->forward(meta({batch, shape[1], plan.frames_at_once, shape[3], shape[4]}), 1.0,
                          meta({batch, kTextTokens, unet_shapes_->config().cross_attention_dim}));
  });
  const auto decode = decode_cost(*vae_shapes_, plan, {chunk, shape[1], shape[3], shape[4]});
  engine::CallCost encode;
  if (!plan.request.video.empty()) {
    encode = engine::probe([&] { vae_shapes_->encode(meta({1, 3, *plan.request.height, *plan.request.width})); });
  }
  MemoryPlan& memory = plan.memory;
  memory.weights = text_bytes_ + unet_bytes_ + vae_bytes_;
  memory.denoise_peak = scaled(call.peak_bytes, placement_.dtype) + window_bytes(plan);
  const auto& [encoding, decoding] = vae_placements_;
  memory.decode_peak = scaled(decode.peak_bytes, decoding.dtype);
  const c10::Device device = placement_.device;
  const bool has_video = !plan.request.video.empty();
  const int64_t stays = has_video && encoding.dtype == decoding.dtype ? vae_bytes_ : 0;  // for decoding
  memory.total_peak =
      process_peak(memory.weights,
                   {{text_bytes_, 0},
                    {has_video ? vae_encoding_bytes_ : 0, scaled(encode.taken_on(device), encoding.dtype)},
                    {stays + unet_bytes_, scaled(call.taken_on(device), placement_.dtype) + window_bytes(plan)},
                    {vae_bytes_, scaled(decode.taken_on(device), decoding.dtype)}},
                   options_.keep_networks);
  plan.denoise_flops = call.flops;
  plan.decode_flops = decode.flops / chunk;
}

std::unique_ptr<Pipeline> ModelScopeModel::load(Progress& progress, Parts parts) const {
  engine::apply_threads(options_);
  Networks networks;
  if (parts == Parts::all) {
    networks.text_encoder = text::reloadable(checkpoint_, placement_, loras_.overlay("text_encoder"));
    const auto load_unet = [config = unet_shapes_->config(), unet = checkpoint_.component("unet"),
                            overlay = loras_.overlay("unet")](const Placement& placement) {
      WeightStore store(unet.weights(), placement);
      store.set_overlay(overlay);
      return std::make_unique<UNet3DConditionModel>(config, store.root());
    };
    networks.unet = {placement_, load_unet};
  }
  networks.vae = {vae_placements_.decoding, [vae = checkpoint_.component("vae")](const Placement& placement) {
                    return vae::load(vae, placement);
                  }};
  networks.encodes_in_fp32 = vae_placements_.encoding.dtype == c10::kFloat;
  networks.keep = options_.keep_networks;
  if (parts == Parts::decoder)
    engine::load_networks(progress, networks.vae);
  else if (networks.keep)
    engine::load_networks(progress, networks.text_encoder, networks.unet, networks.vae);
  return std::make_unique<ModelScopePipeline>(std::move(networks), checkpoint_.component("scheduler").config(),
                                              placement_);
}

}  // namespace t2v::models::modelscope
