// SPDX-License-Identifier: Apache-2.0
// Schedulers (samplers), each equal to its diffusers class. Pure tensor arithmetic: knows no
// network and no family.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/config.hpp"
#include "tensor/rng.hpp"

namespace t2v::sampling {

/// What the user may change about a checkpoint's scheduler; everything is fixed at construction.
struct SchedulerOptions {
  int64_t steps = 50;
  double eta = 0.0;                  ///< DDIM/TCD-like stochasticity
  std::string sigmas;                ///< karras | exponential | beta | sgm_uniform | simple; empty: the config's
  std::string spacing;               ///< leading | linspace | trailing; empty: the config's, else the class default
  double strength = 1.0;             ///< < 1: begin late (video-to-video): only the last int(steps*strength) steps
  std::optional<double> flow_shift;  ///< flow schedulers: overrides the config's shift
  int64_t image_seq_len = 0;         ///< dynamic shifting of flow schedulers; 0 = unused
};

class Scheduler {
 public:
  virtual ~Scheduler() = default;
  /// One entry a network call, in order, already cut to `strength`. Values as the network sees them
  /// (diffusers dtype rules: integer schedulers hold integers).
  virtual std::span<const double> timesteps() const = 0;
  virtual double init_noise_sigma() const = 0;
  /// Input of network call i. [any shape]
  virtual at::Tensor scale_model_input(const at::Tensor& sample, int64_t i) const = 0;
  /// The state after network call i. Noise, where the method has any, is drawn from rng with the
  /// shape of `sample`.
  virtual at::Tensor step(const at::Tensor& model_output, int64_t i, const at::Tensor& sample, Rng& rng) = 0;
  /// Forward process to the level of network call i (0 = start of the cut schedule): diffusers'
  /// add_noise.
  virtual at::Tensor add_noise(const at::Tensor& original, const at::Tensor& noise, int64_t i) const = 0;
  /// Multistep history as named tensors, so that a run can be resumed bit for bit.
  virtual std::map<std::string, at::Tensor> state() const = 0;
  virtual void set_state(const std::map<std::string, at::Tensor>& state) = 0;
};

/// One row a sampler.
struct SchedulerRow {
  std::string_view name;        ///< contract name: "dpmpp_2m"
  std::string_view class_name;  ///< diffusers class: "DPMSolverMultistepScheduler"
  std::string_view about;       ///< one line for --list-samplers
};
std::span<const SchedulerRow> scheduler_rows();

/// `config` is the checkpoint's scheduler_config.json, whichever class wrote it; `name` is a
/// contract name or a diffusers class name. Keys of the config that this class knows are used, like
/// diffusers' from_config; a known key that is not implemented is Error{unsupported}.
std::unique_ptr<Scheduler> make_scheduler(std::string_view name, const io::Config& config,
                                          const SchedulerOptions& options);

/// A sentence for the log when the choice is legal (from_config allows it) but hardly meant; empty
/// otherwise.
std::string scheduler_warning(std::string_view name, const io::Config& config);

}  // namespace t2v::sampling
