// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "engine/device.hpp"
#include "engine/memory_probe.hpp"
#include "models/clip.hpp"
#include "models/decode.hpp"
#include "models/describe.hpp"
#include "models/run.hpp"
#include "models/text/run_text.hpp"
#include "models/unet/diffusion.hpp"
#include "models/vae/placements.hpp"
#include "nn/packed_convolution.hpp"
#include "t2v/error.hpp"

namespace t2v::models::unet {

namespace {

using engine::meta;
using engine::scaled;

constexpr int64_t kTextTokens = 77;  // for the cost of a call; CLIP's length

/// A UNetMotionModel's own modules give way to those of an adapter.
std::string without_motion(const std::string& name) {
  return name.find(".motion_modules.") == std::string::npos ? name : std::string();
}

/// UNet and, where it is a file of its own, adapter. `open(component, rename)` -> WeightStore.
template <class Open>
std::unique_ptr<UNet2DConditionModel> build_unet(const io::Checkpoint& checkpoint, const Variant& variant,
                                                 const Open& open, int64_t* parameters, int64_t* adapter_parameters) {
  WeightStore store = open(checkpoint.component("unet"), variant.adapter ? without_motion : WeightStore::Rename());
  std::unique_ptr<UNet2DConditionModel> unet;
  if (variant.adapter) {
    WeightStore motion = open(*variant.adapter, WeightStore::Rename());
    unet = std::make_unique<UNet2DConditionModel>(variant.unet, store.root(), motion.root());
    motion.expect_all_taken();
    *adapter_parameters = motion.parameter_count();
  } else {
    unet = std::make_unique<UNet2DConditionModel>(variant.unet, store.root());
  }
  store.expect_all_taken();
  *parameters = store.parameter_count();
  return unet;
}

}  // namespace

DiffusionModel::DiffusionModel(io::Checkpoint checkpoint, const LoadOptions& options, Variant variant)
    : checkpoint_(std::move(checkpoint)), options_(options), loras_(options.loras), variant_(std::move(variant)) {
  placement_ = engine::resolve_placement(options, half_dtype(checkpoint_.component("unet")));
  count_parts();
  read_defaults();
}

void DiffusionModel::count_parts() {
  const auto& unet = checkpoint_.component("unet");
  const auto& vae = checkpoint_.component("vae");
  const auto& text = checkpoint_.component("text_encoder");
  int64_t unet_parameters = 0, adapter_parameters = 0;
  const int64_t before_networks = nn::counted_winograd_bytes;
  unet_shapes_ = build_unet(
      checkpoint_, variant_,
      [this](const io::Component& part, const WeightStore::Rename& rename) {
        WeightStore store = WeightStore::header_only(part.weights(), rename);
        loras_.bind("unet", store);
        return store;
      },
      &unet_parameters, &adapter_parameters);
  unet_bytes_ = nn::winograd_bytes_since(before_networks, placement_);
  const int64_t before_vae = nn::counted_winograd_bytes;
  auto vae_store = vae::header_store(vae);
  vae_shapes_ = vae::image_autoencoder(vae, vae_store.root());
  vae_store.expect_all_taken();
  if (!options_.loras.empty()) loras_.bind("text_encoder", text::header_store(text));
  loras_.finish(variant_.pipeline_class);
  vae_placement_ = vae_placements(placement_, vae_shapes_->latent_space().force_upcast).decoding;

  const int64_t text_parameters = text::count_parameters(text, variant_.unet.cross_attention_dim[0]);
  info_.components = {describe(text, text_parameters), describe(unet, unet_parameters),
                      describe(vae, vae_store.parameter_count())};
  if (variant_.adapter) {
    info_.components.insert(info_.components.begin() + 2, describe(*variant_.adapter, adapter_parameters));
  }
  const auto element = static_cast<int64_t>(c10::elementSize(placement_.dtype));
  text_bytes_ = text_parameters * element;
  vae_bytes_ = engine::scaled(4 * vae_store.parameter_count(), vae_placement_.dtype) +
               nn::winograd_bytes_since(before_vae, vae_placement_);
  unet_bytes_ += (unet_parameters + adapter_parameters) * element;
}

void DiffusionModel::read_defaults() {
  const UNet2DConfig& unet = variant_.unet;
  if (unet.in_channels != vae_shapes_->latent_space().channels) {
    throw Error(ErrorCode::unsupported,
                "unsupported UNet: " + checkpoint_.path().string() + ": in_channels: wanted the " +
                    std::to_string(vae_shapes_->latent_space().channels) + " channels of the latents, got " +
                    std::to_string(unet.in_channels) + " (an inpainting, depth or editing model)");
  }
  info_.name = checkpoint_.path().filename().string();
  info_.family = variant_.family;
  info_.pipeline_class = variant_.pipeline_class;
  info_.content_hash = io::content_hash(checkpoint_);
  info_.loras = loras_.info();
  info_.accepts = {"negative-prompt", "prompt-at", "prompt-syntax", "clip-skip"};
  const int64_t factor = vae_shapes_->spatial_factor();
  const OwnDefaults own = own_defaults(checkpoint_);
  info_.width = own.width.value_or(unet.sample_width * factor);
  info_.height = own.height.value_or(unet.sample_height * factor);
  info_.frames = variant_.is_video ? own.frames.value_or(variant_.frames) : 1;
  info_.steps = own.steps.value_or(variant_.steps);
  info_.cfg_scale = own.cfg_scale.value_or(variant_.cfg_scale);
  info_.fps = own.fps.value_or(Rational{8, 1});
  display_scale_ = own.display_scale.value_or(1);
  limits_.vocabulary = own.vocabulary;

  limits_.size_multiple = factor;
  limits_.min_size = factor;
  limits_.max_steps = variant_.scheduler.get_int("num_train_timesteps", 1000, 1, 100000);
  limits_.default_sampler = variant_.scheduler.get_string("_class_name");
  if (unet.motion) limits_.max_window = unet.motion->max_frames;
  if (!variant_.is_video) limits_.max_frames = 1;
  if (unet.motion) info_.frames = std::min(info_.frames, limits_.max_window);
}

Plan DiffusionModel::plan(const Request& request) const {
  if (!variant_.is_video && request.frames.value_or(1) > 1) {
    throw Error(ErrorCode::usage,
                "--frames: wanted 1, " + info_.name + " makes single pictures, got " + std::to_string(*request.frames),
                "--motion-module PATH makes videos with it");
  }
  Request own = request;
  std::erase_if(own.camera, [this](const auto& move) { return loras_.makes_move(move.first, move.second); });
  Plan plan = plan_request(own, info_, limits_);
  text::check_text(plan.request, plan.frames);
  const int64_t factor = vae_shapes_->spatial_factor();
  plan.latent_shape = {1, variant_.unet.in_channels, *plan.request.height / factor, *plan.request.width / factor};
  if (variant_.is_video) plan.latent_shape.insert(plan.latent_shape.begin() + 2, plan.frames);
  if (!request.width && !request.height) {
    plan.width *= display_scale_;
    plan.height *= display_scale_;
  }
  plan.device = engine::device_name(placement_);
  plan.dtype = engine::dtype_name(placement_.dtype);
  run_rng(plan.request, placement_);
  plan_costs(plan);
  check_scheduler(plan, variant_.scheduler);
  return plan;
}

void DiffusionModel::plan_costs(Plan& plan) const {
  const int64_t height = plan.latent_shape.end()[-2], width = plan.latent_shape.end()[-1];
  const int64_t batch = *plan.request.cfg_scale > 1.0 && !variant_.unet.time_cond_proj_dim ? 2 : 1;
  const int64_t chunk = std::min(
      plan.frames, plan.request.decode_chunk.value_or(default_decode_chunk(plan, placement_.device.is_cuda())));
  const int64_t channels = plan.latent_shape[1];
  const auto call = engine::probe([&] {
    unet_shapes_->forward(meta({batch, channels, plan.frames_at_once, height, width}), 1.0,
                          meta({batch, kTextTokens, variant_.unet.cross_attention_dim[0]}));
  });
  const auto decode = decode_cost(*vae_shapes_, plan, {chunk, channels, height, width});
  MemoryPlan& memory = plan.memory;
  memory.weights = text_bytes_ + unet_bytes_ + vae_bytes_;
  memory.denoise_peak = scaled(call.peak_bytes, placement_.dtype) + window_bytes(plan);
  memory.decode_peak = scaled(decode.peak_bytes, vae_placement_.dtype);
  const c10::Device device = placement_.device;
  memory.total_peak = process_peak(memory.weights,
                                   {{text_bytes_, 0},
                                    {unet_bytes_, scaled(call.taken_on(device), placement_.dtype) + window_bytes(plan)},
                                    {vae_bytes_, scaled(decode.taken_on(device), vae_placement_.dtype)}},
                                   options_.keep_networks);
  plan.denoise_flops = call.flops;
  plan.decode_flops = decode.flops / chunk;
}

std::unique_ptr<Pipeline> DiffusionModel::load(Progress& progress, Parts parts) const {
  engine::apply_threads(options_);
  Networks networks;
  if (parts == Parts::all) {
    networks.text_encoder = text::reloadable(checkpoint_, placement_, loras_.overlay("text_encoder"));
    const auto load_unet = [checkpoint = checkpoint_, variant = variant_,
                            overlay = loras_.overlay("unet")](const Placement& placement) {
      int64_t parameters = 0, adapter_parameters = 0;
      return build_unet(
          checkpoint, variant,
          [&](const io::Component& part, const WeightStore::Rename& rename) {
            WeightStore store(part.weights(), placement, rename);
            store.set_overlay(overlay);
            return store;
          },
          &parameters, &adapter_parameters);
    };
    networks.unet = {placement_, load_unet};
  }
  networks.vae = {vae_placement_, [vae = checkpoint_.component("vae")](const Placement& placement) {
                    return vae::load(vae, placement);
                  }};
  networks.embeds_guidance = variant_.unet.time_cond_proj_dim.has_value();
  networks.keep = options_.keep_networks;
  if (parts == Parts::decoder)
    engine::load_networks(progress, networks.vae);
  else if (networks.keep)
    engine::load_networks(progress, networks.text_encoder, networks.unet, networks.vae);
  return std::make_unique<DiffusionPipeline>(std::move(networks), variant_.scheduler, placement_);
}

}  // namespace t2v::models::unet
