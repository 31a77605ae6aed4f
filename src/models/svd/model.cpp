// SPDX-License-Identifier: Apache-2.0
#include "models/svd/model.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "core/log.hpp"
#include "core/text.hpp"
#include "engine/device.hpp"
#include "engine/memory_probe.hpp"
#include "engine/memory_size.hpp"
#include "io/image.hpp"
#include "models/clip.hpp"
#include "models/decode.hpp"
#include "models/describe.hpp"
#include "models/run.hpp"
#include "models/svd/family.hpp"
#include "models/svd/pipeline.hpp"
#include "models/vae/autoencoder_kl.hpp"
#include "nn/packed_convolution.hpp"
#include "t2v/error.hpp"

namespace t2v::models::svd {

namespace {

using engine::meta;
using engine::scaled;

// Defaults of the diffusers pipeline, where a checkpoint names none of its own. diffusers exports at the rate it
// conditions on.
constexpr int64_t kWidth = 1024, kHeight = 576, kSteps = 25, kCondFps = 7, kMotionBucket = 127;
constexpr double kCfgMin = 1.0, kCfgScale = 3.0, kNoiseAug = 0.02;
constexpr int64_t kSizeMultiple = 8;  // the pipeline's, whatever the VAE
constexpr int64_t kLongestClip = 32;  // in one piece: beyond, 14- and 25-frame models fall apart
constexpr int64_t kAddedIds = 3;      // frame rate, motion, noise
constexpr double kMemoryShare = 0.8;  // of the machine's, for a run

constexpr std::array<std::string_view, 1> kPipelineClasses{"StableVideoDiffusionPipeline"};

std::unique_ptr<Model> open(io::Checkpoint checkpoint, const LoadOptions& options) {
  return std::make_unique<SvdModel>(std::move(checkpoint), options);
}

void check_inputs(const Request& request, const std::string& pipeline_class) {
  if (!request.prompt.empty()) {
    throw Error(ErrorCode::usage, "--prompt: " + pipeline_class + " has no text: wanted --image, got a prompt",
                "--first-frame-model MODEL makes the image from the prompt");
  }
  if (!request.decode_only && request.image.empty()) {
    throw Error(ErrorCode::usage, "--image: wanted the image that " + pipeline_class + " sets in motion, got none",
                "for example: t2v --model svd --image photo.jpg -o out.mp4");
  }
}

/// One pixel across can't be blurred, and is no picture.
void check_image(const Plan& plan) {
  const io::Image image = io::load_image(plan.request.image);
  const std::string where = "--image: " + plan.request.image.string();
  if (image.width < 2 || image.height < 2) {
    throw Error(ErrorCode::bad_input, where + ": wanted at least 2x2 pixels, got " + std::to_string(image.width) + "x" +
                                          std::to_string(image.height));
  }
  const double stretch =
      static_cast<double>(image.width * *plan.request.height) / static_cast<double>(image.height * *plan.request.width);
  constexpr double kVisible = 1.02;
  if (stretch > kVisible || stretch < 1 / kVisible) {
    log::warn("{}: its {}x{} pixels are stretched to {}x{}; --size of the same shape keeps them", where, image.width,
              image.height, *plan.request.width, *plan.request.height);
  }
}

int64_t checked(const std::string& flag, int64_t value, int64_t min, int64_t max) {
  if (value >= min && value <= max) return value;
  throw Error(ErrorCode::usage,
              "bad value: --" + flag + ": wanted " + std::to_string(min) + " to " + std::to_string(max) + ", got " +
                  std::to_string(value),
              "the nearest allowed value is " + std::to_string(std::clamp(value, min, max)));
}

}  // namespace

ModelFamily family() { return {"svd", kPipelineClasses, open}; }

SvdModel::SvdModel(io::Checkpoint checkpoint, const LoadOptions& options)
    : checkpoint_(std::move(checkpoint)), options_(options), loras_(options.loras) {
  reject_motion_module(options, checkpoint_.pipeline_class());
  placement_ = engine::resolve_placement(options, half_dtype(checkpoint_.component("unet")));
  read_networks();
  check_networks_fit();
  read_defaults();
}

void SvdModel::read_networks() {
  const auto& encoder = checkpoint_.component("image_encoder");
  const auto& unet = checkpoint_.component("unet");
  const auto& vae = checkpoint_.component("vae");
  auto encoder_store = WeightStore::header_only(encoder.weights(), vision::vision_name);
  encoder_shapes_ =
      std::make_unique<vision::CLIPVisionModel>(vision::CLIPVisionConfig::from(encoder.config()), encoder_store.root());
  encoder_store.expect_all_taken();
  auto unet_store = WeightStore::header_only(unet.weights());
  loras_.bind("unet", unet_store);
  loras_.finish(checkpoint_.pipeline_class());
  const int64_t before_networks = nn::counted_winograd_bytes;
  unet_shapes_ = std::make_unique<UNetSpatioTemporalConditionModel>(UNetSpatioTemporalConfig::from(unet.config()),
                                                                    unet_store.root());
  unet_store.expect_all_taken();
  unet_bytes_ = nn::winograd_bytes_since(before_networks, placement_);
  vae::expect_class(vae, "AutoencoderKLTemporalDecoder");
  const int64_t before_vae = nn::counted_winograd_bytes;
  auto vae_store = vae::header_store(vae);
  vae_shapes_ =
      std::make_unique<vae::AutoencoderKLTemporalDecoder>(vae::temporal_decoder_config(vae.config()), vae_store.root());
  vae_store.expect_all_taken();
  vae_placements_ = vae_placements(placement_, vae_shapes_->config().force_upcast);
  encoder_placement_ = {placement_.device, c10::kFloat};

  info_.components = {describe(encoder, encoder_store.parameter_count()), describe(unet, unet_store.parameter_count()),
                      describe(vae, vae_store.parameter_count())};
  const auto bytes = [](int64_t elements, const Placement& placement) { return scaled(4 * elements, placement.dtype); };
  const auto vae_bytes = [&](const Placement& placement) {
    return bytes(vae_store.parameter_count(), placement) + nn::winograd_bytes_since(before_vae, placement);
  };
  encoder_bytes_ = bytes(encoder_store.parameter_count(), encoder_placement_);
  vae_bytes_ = vae_bytes(vae_placements_.decoding);
  vae_encoding_bytes_ = vae_bytes(vae_placements_.encoding);
  unet_bytes_ += bytes(unet_store.parameter_count() - unet_shapes_->folded_elements(), placement_);
}

void SvdModel::check_networks_fit() const {
  const auto fail = [&](const std::string& key, int64_t wanted, int64_t got, const std::string& why) {
    throw Error(ErrorCode::bad_input, "bad model: " + checkpoint_.path().string() + ": unet/config.json: " + key +
                                          ": wanted " + std::to_string(wanted) + " (" + why + "), got " +
                                          std::to_string(got));
  };
  const UNetSpatioTemporalConfig& unet = unet_shapes_->config();
  const int64_t latent = vae_shapes_->config().latent_channels;
  if (unet.out_channels != latent) fail("out_channels", latent, unet.out_channels, "the VAE's latent_channels");
  if (unet.in_channels != 2 * latent)
    fail("in_channels", 2 * latent, unet.in_channels, "noise and image, each with the VAE's channels");
  const int64_t width = encoder_shapes_->config.projection_dim;
  if (unet.cross_attention_dim[0] != width) {
    fail("cross_attention_dim", width, unet.cross_attention_dim[0], "the image encoder's projection_dim");
  }
  if (unet.added_ids() != kAddedIds) {
    fail("projection_class_embeddings_input_dim", kAddedIds * unet.addition_time_embed_dim,
         unet.projection_class_embeddings_input_dim, "three times addition_time_embed_dim");
  }
  if (encoder_shapes_->config.num_channels != 3 || vae_shapes_->config().in_channels != 3 ||
      vae_shapes_->config().out_channels != 3) {
    throw Error(ErrorCode::bad_input,
                "bad model: " + checkpoint_.path().string() + ": wanted encoders of three colours");
  }
}

void SvdModel::read_defaults() {
  info_.name = checkpoint_.path().filename().string();
  info_.family = "svd";
  info_.pipeline_class = checkpoint_.pipeline_class();
  info_.content_hash = io::content_hash(checkpoint_);
  info_.loras = loras_.info();
  info_.accepts = {"image", "cond-fps", "cfg-min", "motion-bucket", "noise-aug"};
  const OwnDefaults own = own_defaults(checkpoint_);
  info_.width = own.width.value_or(kWidth);
  info_.height = own.height.value_or(kHeight);
  info_.frames = own.frames.value_or(unet_shapes_->config().num_frames);
  info_.steps = own.steps.value_or(kSteps);
  info_.cfg_scale = own.cfg_scale.value_or(kCfgScale);
  info_.fps = own.fps.value_or(Rational{kCondFps, 1});

  const io::Config scheduler = checkpoint_.component("scheduler").config();
  limits_.size_multiple = std::max(kSizeMultiple, vae_shapes_->spatial_factor());
  limits_.min_size = limits_.size_multiple;
  limits_.trained_frames = std::max(info_.frames, kLongestClip);
  limits_.max_steps = scheduler.get_int("num_train_timesteps", 1000, 1, 100000);
  limits_.default_sampler = checkpoint_.component("scheduler").class_name;
}

Plan SvdModel::plan(const Request& request) const {
  check_inputs(request, info_.pipeline_class);
  Plan plan = plan_request(request, info_, limits_);
  Request& r = plan.request;
  r.cond_fps = checked("cond-fps", request.cond_fps.value_or(kCondFps), 1, 1000);
  r.motion_bucket = checked("motion-bucket", request.motion_bucket.value_or(kMotionBucket), 0, 100000);
  r.noise_aug = request.noise_aug.value_or(kNoiseAug);
  r.cfg_min = request.cfg_min.value_or(kCfgMin);
  if (!request.decode_only) check_image(plan);
  const int64_t factor = vae_shapes_->spatial_factor();
  plan.latent_shape = {1, plan.frames, unet_shapes_->config().out_channels, *r.height / factor, *r.width / factor};
  plan.device = engine::device_name(placement_);
  plan.dtype = engine::dtype_name(placement_.dtype);
  if (r.rng == RngDevice::cuda && !placement_.device.is_cuda()) {
    throw Error(ErrorCode::usage, "--rng cuda: wanted a run on CUDA, got one on " + plan.device);
  }
  plan_decode_chunk(plan);
  plan_costs(plan);
  check_scheduler(plan, checkpoint_.component("scheduler").config());
  return plan;
}

engine::CallCost SvdModel::decode_cost(const Plan& plan, int64_t frames) const {
  const auto& shape = plan.latent_shape;  // [1, F, C, h, w]
  return models::decode_cost(*vae_shapes_, plan, {frames, shape[2], shape[3], shape[4]});
}

/// All frames at once, as in diffusers, where the machine has the memory for it: frames of different chunks don't see
/// each other, so the chunk is part of the result, and of the plan. A clip made in windows is decoded in pieces of that
/// length: its memory does not grow with it.
void SvdModel::plan_decode_chunk(Plan& plan) const {
  if (plan.request.decode_chunk) return;
  const int64_t room =
      static_cast<int64_t>(kMemoryShare * static_cast<double>(engine::memory_size(placement_.device))) -
      engine::kLibraryBytes - weight_bytes();
  const int64_t most = plan.frames_at_once;
  const int64_t all = scaled(decode_cost(plan, most).peak_bytes, vae_placements_.decoding.dtype);
  int64_t chunk = most;
  if (all > room) {
    chunk = std::clamp<int64_t>(room * most / all, 1, most);
    log::info("frames are decoded {} at a time: {} would need {}; --decode-chunk chooses", chunk, most,
              human_bytes(all));
  }
  plan.request.decode_chunk = chunk;
}

void SvdModel::plan_costs(Plan& plan) const {
  const auto& shape = plan.latent_shape;  // [1, F, C, h, w]
  const UNetSpatioTemporalConfig& c = unet_shapes_->config();
  const auto call = engine::probe([&] {
    unet_shapes_->forward(meta({1, plan.frames_at_once, c.in_channels, shape[3], shape[4]}), 1.0,
                          meta({1, 1, c.cross_attention_dim[0]}), std::vector<double>(kAddedIds));
  });
  const int64_t chunk = std::min(plan.frames, *plan.request.decode_chunk);
  const auto encode = engine::probe([&] {
    vae_shapes_->encode(meta({1, 3, *plan.request.height, *plan.request.width}));
  });
  const auto decode = decode_cost(plan, chunk);
  const auto& [encoding, decoding] = vae_placements_;
  MemoryPlan& memory = plan.memory;
  memory.weights = weight_bytes();
  memory.denoise_peak = std::max(scaled(call.peak_bytes, placement_.dtype) + window_bytes(plan),
                                 scaled(encode.peak_bytes, encoding.dtype));
  const auto widest = decode_cost(plan, std::min(plan.frames, chunk + 2 * decode_neighbours(plan)));
  memory.decode_peak = scaled(widest.peak_bytes, decoding.dtype);
  const c10::Device device = placement_.device;
  const int64_t stays = encoding.dtype == decoding.dtype ? vae_bytes_ : 0;  // for decoding
  memory.total_peak =
      process_peak(memory.weights,
                   {{encoder_bytes_ + vae_encoding_bytes_, scaled(encode.taken_on(device), encoding.dtype)},
                    {stays + unet_bytes_, scaled(call.taken_on(device), placement_.dtype) + window_bytes(plan)},
                    {vae_bytes_, scaled(widest.taken_on(device), decoding.dtype)}},
                   options_.keep_networks);
  plan.denoise_flops = call.flops * (is_guided(plan) ? 2 : 1);
  plan.decode_flops = decode.flops / chunk;
}

std::unique_ptr<Pipeline> SvdModel::load(Progress& progress, Parts parts) const {
  engine::apply_threads(options_);
  Networks networks;
  if (parts == Parts::all) {
    networks.image_encoder = {encoder_placement_,
                              [encoder = checkpoint_.component("image_encoder")](const Placement& placement) {
                                return vision::load(encoder, placement);
                              }};
    if (checkpoint_.has("feature_extractor")) {
      networks.normalisation = vision::ImageNormalisation::from(checkpoint_.component("feature_extractor").config());
    }
    const auto load_unet = [config = unet_shapes_->config(), unet = checkpoint_.component("unet"),
                            overlay = loras_.overlay("unet")](const Placement& placement) {
      WeightStore store(unet.weights(), placement);
      store.set_overlay(overlay);
      return std::make_unique<UNetSpatioTemporalConditionModel>(config, store.root());
    };
    networks.unet = {placement_, load_unet};
  }
  networks.vae = {vae_placements_.decoding, [vae = checkpoint_.component("vae")](const Placement& placement) {
                    return vae::load_temporal_decoder(vae, placement);
                  }};
  networks.encodes_in_fp32 = vae_placements_.encoding.dtype == c10::kFloat;
  networks.keep = options_.keep_networks;
  if (parts == Parts::decoder)
    engine::load_networks(progress, networks.vae);
  else if (networks.keep)
    engine::load_networks(progress, networks.image_encoder, networks.unet, networks.vae);
  return std::make_unique<SvdPipeline>(std::move(networks), checkpoint_.component("scheduler").config(), placement_);
}

}  // namespace t2v::models::svd
