// SPDX-License-Identifier: Apache-2.0
#include "commands/bench_shortcuts.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "commands/bench_profile.hpp"
#include "media/compare.hpp"
#include "t2v/frame_sink.hpp"

namespace t2v::commands {

namespace {

/// All frames of a clip in one buffer.
class KeptFrames final : public FrameSink {
 public:
  void write(const FrameView& frame) override { bytes.insert(bytes.end(), frame.rgb.begin(), frame.rgb.end()); }
  void finish() override {}
  std::vector<uint8_t> bytes;
};

struct Clip {
  double seconds = 0;  // of sampling: the shortcuts change nothing else
  std::vector<uint8_t> frames;
};

Clip make_clip(Pipeline& pipeline, const Plan& plan) {
  BenchTimes ignored(false);
  const auto start = std::chrono::steady_clock::now();
  const Latents latents = pipeline.denoise(plan, ignored);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  KeptFrames frames;
  pipeline.decode(latents, plan, frames, ignored);
  return {seconds, std::move(frames.bytes)};
}

io::Json row_of(const std::string& part, const std::string& unit, const Clip& exact, const Clip& quick) {
  io::Json row{{"part", part},
               {"unit", unit},
               {"count", 1},
               {"median_seconds", quick.seconds},
               {"best_seconds", quick.seconds},
               {"exact_seconds", exact.seconds},
               {"ratio", exact.seconds / std::max(quick.seconds, 1e-9)}};
  // JSON knows no infinity: equal clips have no PSNR.
  const double decibels = media::psnr_of(media::mean_squared_error(exact.frames, quick.frames));
  row["psnr_db"] = std::isfinite(decibels) ? io::Json(decibels) : io::Json();
  return row;
}

Clip decoded(Pipeline& pipeline, const Latents& latents, const Plan& plan) {
  BenchTimes ignored(false);
  KeptFrames warm, frames;
  pipeline.decode(latents, plan, warm, ignored);
  const auto start = std::chrono::steady_clock::now();
  pipeline.decode(latents, plan, frames, ignored);
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), std::move(frames.bytes)};
}

}  // namespace

bool takes_shortcuts(const Request& planned) {
  return planned.deepcache.value_or(1) > 1 || planned.cfg_from.value_or(0) > 0 || planned.cfg_until.value_or(1) < 1;
}

io::Json shortcut_row(const Model& model, Pipeline& pipeline, const Request& request) {
  Request exact = request;
  exact.fast = false;
  exact.deepcache.reset();
  exact.cfg_from.reset();
  exact.cfg_until.reset();
  const Clip reference = make_clip(pipeline, model.plan(exact)), quick = make_clip(pipeline, model.plan(request));
  return row_of("fast", "sampling", reference, quick);
}

bool has_tiny_autoencoder(const ModelInfo& info) {
  return std::ranges::any_of(info.components, [](const auto& part) { return part.class_name == "AutoencoderTiny"; });
}

io::Json tiny_autoencoder_row(const Decoding& exact, const Decoding& quick, const Latents& latents) {
  return row_of("taesd", "decoding", decoded(exact.pipeline, latents, exact.plan),
                decoded(quick.pipeline, latents, quick.plan));
}

}  // namespace t2v::commands
