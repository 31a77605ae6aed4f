// SPDX-License-Identifier: Apache-2.0
#include "commands/bench_shortcuts.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "commands/bench_profile.hpp"
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

double psnr(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
  const double most = 255.0 * 255.0 * static_cast<double>(a.size());
  return sum == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(most / sum);
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
  io::Json row{{"part", "fast"},
               {"unit", "sampling"},
               {"count", 1},
               {"median_seconds", quick.seconds},
               {"best_seconds", quick.seconds},
               {"exact_seconds", reference.seconds},
               {"ratio", reference.seconds / std::max(quick.seconds, 1e-9)}};
  // JSON knows no infinity: equal clips have no PSNR.
  const double decibels = psnr(reference.frames, quick.frames);
  row["psnr_db"] = std::isfinite(decibels) ? io::Json(decibels) : io::Json();
  return row;
}

}  // namespace t2v::commands
