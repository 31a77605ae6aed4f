// SPDX-License-Identifier: Apache-2.0
#include "models/decode.hpp"

#include <algorithm>
#include <memory>

#include "engine/frames.hpp"
#include "engine/stage.hpp"
#include "media/scale.hpp"

namespace t2v::models {

namespace {

constexpr int64_t kChunkPixels = 128 * 128;  // of one decode chunk on a CPU: about 256 MB of activations at 128 channels

/// `scaler` is null where frames already have the size that is written.
void write_frames(const at::Tensor& rgb, media::FrameScaler* scaler, FrameSink& sink, engine::StageScope& stage) {
  const int64_t height = rgb.size(1), width = rgb.size(2), bytes = height * width * 3;
  const auto* data = rgb.const_data_ptr<uint8_t>();
  for (int64_t i = 0; i < rgb.size(0); ++i) {
    const FrameView frame{width, height, {data + i * bytes, static_cast<size_t>(bytes)}};
    sink.write(scaler ? scaler->scale(frame) : frame);
    stage.step();
  }
}

std::unique_ptr<media::FrameScaler> make_scaler(int64_t width, int64_t height, const Plan& plan) {
  if (width == plan.width && height == plan.height) return nullptr;
  return std::make_unique<media::FrameScaler>(width, height, plan.width, plan.height, media::ScaleMethod::lanczos);
}

}  // namespace

int64_t default_decode_chunk(const Plan& plan, bool cuda) {
  if (cuda) return 8;
  return std::clamp<int64_t>(kChunkPixels / (*plan.request.width * *plan.request.height), 1, 16);
}

void decode_frames(const vae::AutoencoderKL& vae, const at::Tensor& latents, const Plan& plan, FrameSink& sink,
                   Progress& progress) {
  const int64_t frames = latents.size(0);
  const int64_t chunk = plan.request.decode_chunk.value_or(default_decode_chunk(plan, latents.is_cuda()));
  const int64_t factor = vae.spatial_factor();
  const auto scaler = make_scaler(latents.size(3) * factor, latents.size(2) * factor, plan);
  engine::StageScope stage(progress, Stage::decode, frames);
  for (int64_t first = 0; first < frames; first += chunk) {
    const at::Tensor part = latents.narrow(0, first, std::min(chunk, frames - first));
    const at::Tensor decoded = plan.request.vae_tiling ? vae.decode_tiled(part) : vae.decode(part);  // [f, 3, H, W]
    write_frames(engine::frames_to_rgb8(decoded, first), scaler.get(), sink, stage);
  }
}

}  // namespace t2v::models
