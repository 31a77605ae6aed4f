// SPDX-License-Identifier: Apache-2.0
#include "models/vae/autoencoder_kl.hpp"

#include <array>
#include <string>
#include <string_view>

#include <ATen/ops/clamp.h>
#include <ATen/ops/exp.h>

#include "models/vae/tiling.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::vae {

namespace {

/// Only larger inputs are tiled, and a tile must be large enough to advance by three quarters of it.
bool wants_tiles(const Tensor& x, int64_t tile) { return tile >= 2 && (x.size(2) > tile || x.size(3) > tile); }

}  // namespace

AutoencoderKL::AutoencoderKL(const AutoencoderKLConfig& c, const Weights& w)
    : config_(c), encoder_(w.at("encoder"), c), decoder_(w.at("decoder"), c) {
  if (c.use_quant_conv) {
    quant_conv_.emplace(w.at("quant_conv"), nn::Conv2dOptions{.in_channels = 2 * c.latent_channels,
                                                              .out_channels = 2 * c.latent_channels});
  }
  if (c.use_post_quant_conv) {
    post_quant_conv_.emplace(w.at("post_quant_conv"), nn::Conv2dOptions{.in_channels = c.latent_channels,
                                                                        .out_channels = c.latent_channels});
  }
}

int64_t AutoencoderKL::spatial_factor() const {
  return int64_t{1} << (config_.block_out_channels.size() - 1);
}

Tensor AutoencoderKL::encode(const Tensor& images) const {
  const Tensor moments = encoder_.forward(images);
  return quant_conv_ ? quant_conv_->forward(moments) : moments;
}

Tensor AutoencoderKL::encode_tiled(const Tensor& images) const {
  if (!wants_tiles(images, config_.sample_size)) {
    return encode(images);
  }
  return run_tiled(images, {.input = config_.sample_size, .output = config_.sample_size / spatial_factor()},
                   [this](const Tensor& tile) { return encode(tile); });
}

Tensor AutoencoderKL::mean(const Tensor& moments) { return moments.chunk(2, 1)[0]; }

Tensor AutoencoderKL::logvar(const Tensor& moments) { return at::clamp(moments.chunk(2, 1)[1], -30.0, 20.0); }

Tensor AutoencoderKL::sample(const Tensor& moments, Rng& rng) {
  const Tensor centre = mean(moments);
  return centre + at::exp(logvar(moments) * 0.5) * rng.normal_like(centre);
}

Tensor AutoencoderKL::decode(const Tensor& latents) const {
  return decoder_.forward(post_quant_conv_ ? post_quant_conv_->forward(latents) : latents);
}

Tensor AutoencoderKL::decode_tiled(const Tensor& latents) const {
  const int64_t tile = config_.sample_size / spatial_factor();
  if (!wants_tiles(latents, tile)) {
    return decode(latents);
  }
  return run_tiled(latents, {.input = tile, .output = config_.sample_size},
                   [this](const Tensor& part) { return decode(part); });
}

Tensor AutoencoderKL::scale(const Tensor& latents) const {
  return (latents - config_.shift_factor) * config_.scaling_factor;
}

Tensor AutoencoderKL::unscale(const Tensor& latents) const {
  return latents / config_.scaling_factor + config_.shift_factor;
}

std::string rename_old_attention(const std::string& name) {
  static constexpr std::array<std::array<std::string_view, 2>, 4> kNames{
      {{"query", "to_q"}, {"key", "to_k"}, {"value", "to_v"}, {"proj_attn", "to_out.0"}}};
  for (const auto& [old_name, new_name] : kNames) {
    const std::string part = ".attentions.0." + std::string(old_name) + ".";
    const size_t at = name.find(part);
    if (at != std::string::npos) {
      return name.substr(0, at) + ".attentions.0." + std::string(new_name) + name.substr(at + part.size() - 1);
    }
  }
  return name;
}

WeightStore header_store(const io::Component& component) {
  return WeightStore::header_only(component.weights(), rename_old_attention);
}

std::unique_ptr<AutoencoderKL> load(const io::Component& component, const Placement& placement) {
  WeightStore store(component.weights(), placement, rename_old_attention);
  auto network = std::make_unique<AutoencoderKL>(AutoencoderKLConfig::from(component.config()), store.root());
  store.expect_all_taken();
  if (placement.dtype != c10::kFloat) {
    network->load_fp32 = [component, device = placement.device] { return load(component, {device, c10::kFloat}); };
  }
  return network;
}

}  // namespace t2v::models::vae
