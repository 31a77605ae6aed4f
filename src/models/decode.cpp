// SPDX-License-Identifier: Apache-2.0
#include "models/decode.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>

#include "engine/available_memory.hpp"
#include "engine/cuda_plugin.hpp"
#include "engine/cuda_warm_up.hpp"
#include "engine/finite.hpp"
#include "engine/frames.hpp"
#include "engine/load_memory.hpp"
#include "engine/stage.hpp"
#include "media/scale.hpp"
#include "tensor/operators.hpp"

namespace t2v::models {

namespace {

constexpr int64_t kChunkPixels =
    128 * 128;  // of one decode chunk on a CPU: about 256 MB of activations at 128 channels

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

void write_planes(const engine::Yuv420Frames& planes, Yuv420Sink& sink, engine::StageScope& stage) {
  const auto bytes = [](const at::Tensor& plane, int64_t frame) {
    const int64_t size = plane.size(1) * plane.size(2);
    return std::span(plane.const_data_ptr<uint8_t>() + frame * size, static_cast<size_t>(size));
  };
  for (int64_t i = 0; i < planes.y.size(0); ++i) {
    sink.write_yuv420({.width = planes.y.size(2),
                       .height = planes.y.size(1),
                       .y = bytes(planes.y, i),
                       .u = bytes(planes.u, i),
                       .v = bytes(planes.v, i)});
    stage.step();
  }
}

std::unique_ptr<media::FrameScaler> make_scaler(int64_t width, int64_t height, const Plan& plan) {
  if (width == plan.width && height == plan.height) return nullptr;
  return std::make_unique<media::FrameScaler>(width, height, plan.width, plan.height, media::ScaleMethod::lanczos);
}

/// Decodes chunks, and those frames in fp32 that the network's own precision turned into NaN, Inf or plain black.
class ChunkDecoder {
 public:
  explicit ChunkDecoder(const FrameDecoder& decoder) : decoder_(decoder) {}

  /// [f, 3, H, W], on a device only queued.
  at::Tensor begin(const at::Tensor& latents) const {
    return is_hopeless_ ? precise_(latents) : decoder_.decode(latents.to(decoder_.dtype));
  }
  /// What begin() gave, mended.
  at::Tensor settled(const at::Tensor& frames, const at::Tensor& latents, int64_t first) {
    if (!decoder_.load_fp32 || is_hopeless_) return frames;  // checked when they become bytes
    const at::Tensor good = good_frames(frames);
    if (good.all().item<bool>()) return frames;
    is_hopeless_ = !good.any().item<bool>();
    if (!decoder_.frames_apart) return decode_fp32(latents, first);
    std::vector<at::Tensor> mended;
    for (int64_t i = 0; i < frames.size(0); ++i) {
      const bool is_good = good[i].item<bool>();
      mended.push_back(is_good ? frames.narrow(0, i, 1).to(c10::kFloat)
                               : decode_fp32(latents.narrow(0, i, 1), first + i));
    }
    return at::cat(mended, 0);
  }

 private:
  /// Black is every value at the end of the range, where a clamp puts what lies beyond. [f, 3, H, W] -> [f]
  static at::Tensor good_frames(const at::Tensor& frames) {
    const at::Tensor low = at::amin(frames, {1, 2, 3}), high = at::amax(frames, {1, 2, 3});
    return at::isfinite(low).logical_and(at::isfinite(high)).logical_and(high > -1.0).cpu();
  }

  at::Tensor decode_fp32(const at::Tensor& latents, int64_t first) {
    std::string stage = "decode: frame " + std::to_string(first);
    if (latents.size(0) > 1) stage += " to " + std::to_string(first + latents.size(0) - 1);
    engine::warn_of_retry(stage, decoder_.dtype);
    if (!precise_) precise_ = decoder_.load_fp32();
    const at::Tensor frames = precise_(latents);
    if (!engine::all_finite({frames})) engine::throw_not_finite(stage, decoder_.dtype, true);
    return frames;
  }

  const FrameDecoder& decoder_;
  FrameDecoder::Decode precise_;  // from the first frame that needs it to the last
  bool is_hopeless_ = false;      // a chunk had no good frame: what follows is not tried in its own precision
};

}  // namespace

int64_t chunk_that_fits(const Plan& plan, int64_t wanted, int64_t free) {
  constexpr double kShare = 0.9;  // of what is free: others want some, and blocks leave holes
  if (free <= 0 || plan.memory.decode_peak <= 0) return wanted;
  const double each = static_cast<double>(plan.memory.decode_peak) / static_cast<double>(std::min(plan.frames, wanted));
  return std::clamp<int64_t>(static_cast<int64_t>(kShare * static_cast<double>(free) / each), 1, wanted);
}

int64_t default_decode_chunk(const Plan& plan, bool cuda) {
  if (cuda) return 8;
  return std::clamp<int64_t>(kChunkPixels / (*plan.request.width * *plan.request.height), 1, 16);
}

/// While a device decodes a chunk, the one before travels to the CPU and is written.
void decode_frames(const FrameDecoder& decoder, const at::Tensor& latents, const Plan& plan, FrameSink& sink,
                   Progress& progress) {
  engine::finish_cuda_warm_up();  // what is free decides on the chunk
  const int64_t frames = latents.size(0);
  if (latents.is_cuda()) engine::cuda_empty_cache();  // denoising is over, and what it leaves has other sizes
  const auto usual_chunk = [&] {
    const int64_t usual = default_decode_chunk(plan, latents.is_cuda());
    return decoder.frames_apart ? chunk_that_fits(plan, usual, engine::available_bytes(plan.device)) : usual;
  };
  const int64_t chunk = plan.request.decode_chunk ? *plan.request.decode_chunk : usual_chunk();
  const auto scaler = make_scaler(latents.size(3) * decoder.factor, latents.size(2) * decoder.factor, plan);
  Yuv420Sink* const yuv420 = scaler ? nullptr : sink.yuv420();
  ChunkDecoder chunks(decoder);
  engine::return_freed_pages();  // denoising is over, and what it leaves has other sizes
  engine::StageScope stage(progress, Stage::decode, frames);
  std::optional<engine::FramesOnTheWay> travelling;
  const auto write = [&] {
    if (!travelling) return;
    const auto bytes = travelling->take();
    if (bytes.planes) {
      write_planes(*bytes.planes, *yuv420, stage);
    } else {
      write_frames(bytes.rgb, scaler.get(), sink, stage);
    }
    travelling.reset();
  };
  for (int64_t first = 0; first < frames; first += chunk) {
    const int64_t count = std::min(chunk, frames - first);
    const int64_t begin = std::max<int64_t>(0, first - decoder.neighbours);
    const int64_t end = std::min(frames, first + count + decoder.neighbours);
    const at::Tensor given = latents.narrow(0, begin, end - begin);
    const at::Tensor begun = chunks.begin(given);
    write();
    const at::Tensor decoded = chunks.settled(begun, given, begin);
    travelling.emplace(decoded.narrow(0, first - begin, count), first, /*as_yuv420=*/yuv420 != nullptr);
    if (travelling->have_arrived()) write();
  }
  write();
}

void decode_frames(const vae::ImageAutoencoder& vae, c10::ScalarType dtype, const at::Tensor& latents, const Plan& plan,
                   FrameSink& sink, Progress& progress) {
  decode_frames(frame_decoder(vae, dtype, plan, /*frames_apart=*/true), latents, plan, sink, progress);
}

}  // namespace t2v::models
