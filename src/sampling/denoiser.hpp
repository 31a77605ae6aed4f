// SPDX-License-Identifier: Apache-2.0
// A network with its conditioning bound: all that the sampling loop, guidance and step wrappers
// know of a model.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>

namespace t2v::sampling {

struct StepContext {
  int64_t index = 0;    ///< position in Scheduler::timesteps()
  int64_t count = 0;    ///< number of network calls of the run
  double timestep = 0;  ///< what the network's time embedding gets; may be fractional
  /// Which frames of the clip x holds, in this order (a window need not be contiguous, nor begin at
  /// 0: a loop's wraps around); empty: the whole clip. Whatever a family conditions by frame is cut
  /// with frames_of().
  std::span<const int64_t> frames = {};
};

/// predict() as a function of tensors, so that a device can record it in one step and replay it in others.
struct TensorCall {
  at::Tensor time;   ///< what the step's timestep is to the network
  int64_t kind = 0;  ///< calls of one kind differ in nothing but their tensors
  std::function<at::Tensor(const at::Tensor& x, const at::Tensor& time)> predict;
};

class Denoiser {
 public:
  virtual ~Denoiser() = default;
  /// The guided prediction (epsilon, v, sample or flow: as the scheduler's prediction_type says)
  /// for a scaled input x (family layout, e.g. [B, C, F, h, w]). Same shape, dtype fp32 or the
  /// network's.
  virtual at::Tensor predict(const at::Tensor& x, const StepContext& step) = 0;

  /// The call of this step, if it is such a function for the whole run: nothing is kept from step to step, and no window
  /// moves. Valid until use_fp32().
  virtual std::optional<TensorCall> tensor_call(const StepContext& /*step*/) { return std::nullopt; }

  /// From now on compute in fp32 (or, with false, as before again): called where the network's own precision gave NaN
  /// or Inf. False: there is nothing better to switch to. A wrapper asks the denoiser inside.
  virtual bool use_fp32(bool /*on*/) { return false; }

  /// What is carried from step to step (cached features), so that a run can be resumed bit for bit.
  virtual std::map<std::string, at::Tensor> state() const { return {}; }
  virtual void set_state(const std::map<std::string, at::Tensor>&) {}
};

/// The part of a tensor with one entry a frame of the clip (text by frame, a guidance ramp, image
/// latents) that belongs to the frames of this call; `per_frame` itself when the call sees the
/// whole clip.
at::Tensor frames_of(const at::Tensor& per_frame, int64_t frame_dim, const StepContext& step);

}  // namespace t2v::sampling
