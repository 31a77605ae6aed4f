// SPDX-License-Identifier: Apache-2.0
// Clips longer than a network was trained for: it sees overlapping windows of frames, and their
// predictions are blended (MultiDiffusion in time; Gen-L-Video 2305.18264). The windows move with
// every step, so that no seam stays at one place.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sampling/denoiser.hpp"

namespace t2v::sampling {

enum class Blend {
  pyramid,  ///< a frame counts more the farther it is from its window's ends: 1 2 .. 2 1
  flat,     ///< every frame counts the same
};

struct WindowOptions {
  int64_t frames = 0;   ///< of the clip
  int64_t size = 0;     ///< frames of a window; 0, or not less than `frames`: no windows
  int64_t overlap = 0;  ///< frames that neighbours share, less than `size`
  int64_t strides = 1;  ///< 1: neighbouring frames; 2: windows of every second frame too; 3: fourth
  bool loop = false;    ///< the last frame leads into the first
  Blend blend = Blend::pyramid;

  /// False: the network sees the whole clip at once, in its order.
  bool active() const { return loop || (size > 0 && size < frames); }
  /// Frames of one network call.
  int64_t frames_at_once() const { return size > 0 && size < frames ? size : frames; }
};

/// The windows of network call `step`: a pure function of its arguments, and together they hold
/// every frame. No window holds a frame twice.
///
/// A loop has the uniform schedule of AnimateDiff-CLI (ComfyUI: "looped uniform"): windows of
/// `size` frames at every size * stride - overlap frames around the circle, begun anew each step at
/// the bit-reversed fraction of the step's number. An open clip has the same windows, shifted by
/// that fraction of their distance and held inside the clip.
std::vector<std::vector<int64_t>> windows_at(const WindowOptions& options, int64_t step);

/// Weights of a window's frames.
std::vector<float> blend_weights(Blend blend, int64_t size);

/// The wrapper. When the options are not active, predict() is the inner one's, unchanged.
class WindowedDenoiser final : public Denoiser {
 public:
  /// `frame_dim`: where the state has its frames. `before_window` is called before every network
  /// call of a step (to stop a long run in time); may be empty. `inner` must outlive this.
  WindowedDenoiser(Denoiser& inner, const WindowOptions& options, int64_t frame_dim,
                   std::function<void()> before_window = {});

  at::Tensor predict(const at::Tensor& x, const StepContext& step) override;
  std::optional<TensorCall> tensor_call(const StepContext& step) override {
    return options_.active() ? std::nullopt : inner_.tensor_call(step);
  }
  bool use_fp32(bool on) override { return inner_.use_fp32(on); }
  std::map<std::string, at::Tensor> state() const override { return inner_.state(); }
  void set_state(const std::map<std::string, at::Tensor>& state) override { inner_.set_state(state); }

 private:
  Denoiser& inner_;
  WindowOptions options_;
  int64_t frame_dim_;
  std::function<void()> before_window_;
};

}  // namespace t2v::sampling
