// SPDX-License-Identifier: Apache-2.0
#include "models/vae/temporal_decoder.hpp"

#include <algorithm>
#include <string>

#include "models/vae/autoencoder_kl.hpp"
#include "models/vae/tiling.hpp"
#include "nn/layout.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::vae {

namespace {

constexpr int64_t kGroups = 32;  // the class has no key for it
constexpr double kSpatialEps = 1e-6, kTemporalEps = 1e-5;

nn::Conv2dOptions conv3x3(int64_t in_channels, int64_t out_channels) {
  return {.in_channels = in_channels, .out_channels = out_channels, .kernel = {3, 3}, .padding = {1, 1}};
}

std::vector<nn::SpatioTemporalResBlock> resnets(const Weights& w, int64_t count, int64_t in_channels,
                                                int64_t out_channels) {
  std::vector<nn::SpatioTemporalResBlock> layers;
  for (int64_t i = 0; i < count; ++i) {
    layers.emplace_back(w.at("resnets").at(i),
                        nn::SpatioTemporalResnetOptions{.spatial = {.in_channels = i == 0 ? in_channels : out_channels,
                                                                    .out_channels = out_channels,
                                                                    .groups = kGroups,
                                                                    .eps = kSpatialEps,
                                                                    .activation = nn::activation("silu", "act_fn")},
                                                        .temporal_eps = kTemporalEps,
                                                        .switches_mix = true});
  }
  return layers;
}

std::vector<TemporalDecoder::UpBlock> up_blocks(const Weights& w, const AutoencoderKLConfig& c) {
  const std::vector<int64_t> channels(c.block_out_channels.rbegin(), c.block_out_channels.rend());
  std::vector<TemporalDecoder::UpBlock> blocks;
  for (size_t i = 0; i < channels.size(); ++i) {
    const Weights block = w.at(static_cast<int64_t>(i));
    blocks.push_back({resnets(block, c.layers_per_block + 1, channels[i == 0 ? 0 : i - 1], channels[i]), {}});
    if (i + 1 < channels.size()) {
      blocks.back().upsampler.emplace(block.at("upsamplers.0"), channels[i]);
    }
  }
  return blocks;
}

}  // namespace

TemporalDecoder::TemporalDecoder(const Weights& w, const AutoencoderKLConfig& c)
    : conv_in(w.at("conv_in"), conv3x3(c.latent_channels, c.block_out_channels.back())),
      mid_resnets(
          resnets(w.at("mid_block"), c.layers_per_block, c.block_out_channels.back(), c.block_out_channels.back())),
      mid_attention(w.at("mid_block.attentions.0"), c.block_out_channels.back(), kGroups),
      up_blocks(vae::up_blocks(w.at("up_blocks"), c)),
      conv_norm_out(w.at("conv_norm_out"), kGroups, c.block_out_channels.front(), kSpatialEps),
      conv_out(w.at("conv_out"), conv3x3(c.block_out_channels.front(), c.out_channels)),
      time_conv_out(w.at("time_conv_out"), {.in_channels = c.out_channels,
                                            .out_channels = c.out_channels,
                                            .kernel = {3, 1},
                                            .padding = {1, 0},
                                            .stored_as_3d = true}) {}

Tensor TemporalDecoder::forward(const Tensor& latents) const {
  const int64_t frames = latents.size(0);
  Tensor x = conv_in.forward(latents.contiguous(at::MemoryFormat::ChannelsLast));
  x = mid_resnets.front().forward(x, {}, frames);
  // diffusers pairs the further layers with its single attention: a third layer exists in files but never runs.
  if (mid_resnets.size() > 1) {
    x = mid_resnets[1].forward(mid_attention.forward(x), {}, frames);
  }
  for (const UpBlock& block : up_blocks) {
    for (const auto& resnet : block.resnets) {
      x = resnet.forward(x, {}, frames);
    }
    if (block.upsampler) {
      x = block.upsampler->forward(x);
    }
  }
  x = conv_out.forward(conv_norm_out.forward_silu(x));
  return nn::rows_as_frames(time_conv_out.forward(nn::frames_as_rows(x, frames)), x);
}

AutoencoderKLConfig temporal_decoder_config(const io::Config& config) {
  io::Json json = config.json();
  const auto channels = json.find("block_out_channels");
  const size_t blocks = channels != json.end() && channels->is_array() ? channels->size() : 1;
  json["up_block_types"] = std::vector<std::string>(blocks, "UpDecoderBlock2D");
  json["norm_num_groups"] = kGroups;
  json["act_fn"] = "silu";
  json["shift_factor"] = 0.0;
  json["use_quant_conv"] = true;
  json["use_post_quant_conv"] = false;
  json["mid_block_add_attention"] = true;
  return AutoencoderKLConfig::from(io::Config(std::move(json), config.where()));
}

AutoencoderKLTemporalDecoder::AutoencoderKLTemporalDecoder(const AutoencoderKLConfig& c, const Weights& w)
    : config_(c),
      encoder_(w.at("encoder"), c),
      decoder_(w.at("decoder"), c),
      quant_conv_(w.at("quant_conv"), {.in_channels = 2 * c.latent_channels, .out_channels = 2 * c.latent_channels}) {}

int64_t AutoencoderKLTemporalDecoder::spatial_factor() const {
  return int64_t{1} << (config_.block_out_channels.size() - 1);
}

Tensor AutoencoderKLTemporalDecoder::encode(const Tensor& images) const {
  return quant_conv_.forward(encoder_.forward(images));
}

Tensor AutoencoderKLTemporalDecoder::decode(const Tensor& latents) const { return decoder_.forward(latents); }

Tensor AutoencoderKLTemporalDecoder::decode_tiled(const Tensor& latents) const {
  const int64_t tile = config_.sample_size / spatial_factor();
  if (tile < 2 || (latents.size(2) <= tile && latents.size(3) <= tile)) {
    return decode(latents);
  }
  return run_tiled(latents, {.input = tile, .output = config_.sample_size},
                   [this](const Tensor& part) { return decode(part); });
}

Tensor AutoencoderKLTemporalDecoder::unscale(const Tensor& latents) const {
  return latents * (1.0 / config_.scaling_factor);  // in this order, as the pipeline computes it
}

std::unique_ptr<AutoencoderKLTemporalDecoder> load_temporal_decoder(const io::Component& component,
                                                                    const Placement& placement) {
  WeightStore store(component.weights(), placement, rename_old_attention);
  auto network =
      std::make_unique<AutoencoderKLTemporalDecoder>(temporal_decoder_config(component.config()), store.root());
  store.expect_all_taken();
  if (placement.dtype != c10::kFloat) {
    network->load_fp32 = [component, device = placement.device] {
      return load_temporal_decoder(component, {device, c10::kFloat});
    };
  }
  return network;
}

}  // namespace t2v::models::vae
