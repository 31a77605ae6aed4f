// SPDX-License-Identifier: Apache-2.0
// What the sampler files share: the cut schedule, the history of a multistep method, and the
// conversions between what a network predicts and what a method needs. Private to src/sampling.
//
// Note: [Numbers as diffusers computes them]
// Per-step coefficients are 0-dim fp32 CPU tensors and every formula keeps the order of operations
// of the diffusers class (0.42.1): PyTorch then rounds each of them as it does there, for fp32,
// fp16 and bf16 samples alike. Plain floats would save microseconds and lose the last bits, which
// multistep methods amplify.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include "sampling/noise_schedule.hpp"
#include "sampling/scheduler.hpp"
#include "sampling/timesteps.hpp"

namespace t2v::sampling {

using at::Tensor;

enum class Prediction { epsilon, v_prediction, sample, flow_prediction };
/// `prediction_type` of the config. Throws Error{unsupported} naming the class if it is none of
/// `known`.
Prediction read_prediction(const io::Config& config, std::initializer_list<Prediction> known, const char* class_name);

/// What a network's output says about the clean sample and the noise at one cumulative product
/// alpha_bar.
struct Split {
  Tensor x0;
  Tensor epsilon;
};
Split split_prediction(Prediction kind, const Tensor& output, const Tensor& sample, const Tensor& alpha_bar);
/// The clean sample in variance-exploding form, sample = x0 + sigma * noise (Euler, Heun, LMS and
/// their kin).
Tensor denoise(Prediction kind, const Tensor& output, const Tensor& sample, const Tensor& sigma);
/// x / t as Python writes it for a number x and a tensor t: reciprocal first.
Tensor divide(double x, const Tensor& t);
/// Largest sigma, or sqrt(sigma^2 + 1) for leading spacing: scale of the initial noise in the Euler
/// family.
double exploding_init_sigma(const Tensor& sigmas, const std::string& spacing);

/// Most recent tensors of a multistep method, oldest first.
class History {
 public:
  explicit History(size_t limit = 4) : limit_(limit) {}
  void push(const Tensor& value);
  void replace_newest(const Tensor& value) { values_.back() = value; }
  void clear() { values_.clear(); }
  size_t size() const { return values_.size(); }
  /// back(0) is the newest. Throws Error{bad_input} if there is none: a run resumed from an
  /// incomplete state.
  const Tensor& back(size_t age) const;
  void save(std::map<std::string, Tensor>& state, const std::string& name) const;
  void restore(const std::map<std::string, Tensor>& state, const std::string& name);

 private:
  size_t limit_;
  std::vector<Tensor> values_;
};

class SchedulerBase : public Scheduler {
 public:
  std::span<const double> timesteps() const final;
  double init_noise_sigma() const override { return 1.0; }
  Tensor scale_model_input(const Tensor& sample, int64_t i) const override { return sample; }
  std::map<std::string, Tensor> state() const override { return {}; }
  void set_state(const std::map<std::string, Tensor>& state) override {}

 protected:
  SchedulerBase(const io::Config& config, const SchedulerOptions& options);
  /// Takes the whole schedule and cuts it to the run's strength. `calls_per_step` is 2 for
  /// Heun-like methods.
  void set_timesteps(std::vector<double> timesteps, int64_t calls_per_step = 1);
  /// Index into the uncut schedule of network call i.
  int64_t absolute(int64_t i) const;
  const std::vector<double>& all_timesteps() const { return timesteps_; }
  int64_t call_count() const { return static_cast<int64_t>(timesteps_.size()); }  ///< of the uncut schedule
  TimestepGrid grid(const NoiseSchedule& noise, const char* default_spacing) const;

  std::string where_;    ///< config file, for messages
  std::string spacing_;  ///< as given; empty: class default
  int64_t steps_offset_ = 0;
  SchedulerOptions options_;

 private:
  std::vector<double> timesteps_;
  int64_t begin_ = 0;
};

/// Methods that index the training schedule by integer timestep (DDPM, DDIM, PNDM, LCM, TCD).
class DiscreteScheduler : public SchedulerBase {
 public:
  Tensor add_noise(const Tensor& original, const Tensor& noise, int64_t i) const final;

 protected:
  DiscreteScheduler(const io::Config& config, const SchedulerOptions& options, const NoiseDefaults& defaults);
  /// Refuses timesteps outside the training schedule, and ones where this prediction would divide
  /// by zero. With `clips` the division is harmless: the endless sample estimate is clipped.
  void check_timesteps(Prediction prediction, bool clips = false) const;
  int64_t timestep(int64_t k) const { return static_cast<int64_t>(all_timesteps()[static_cast<size_t>(k)]); }
  /// alpha_bar of t, or of what lies before the first timestep.
  Tensor alpha_bar_or(int64_t t, const Tensor& before_first) const;

  NoiseSchedule noise_;
};

}  // namespace t2v::sampling
