// SPDX-License-Identifier: Apache-2.0
// A sampler as a table. Each of its steps is linear in the state, what it remembers, the prediction and the noise that
// it draws, so one small matrix a step says all that it does: the same few operations then make every step of a run,
// and steps differ in nothing but a row of the table. That is what lets a device record one step and replay it for the
// others. All samplers are such, but for those that clip the sample estimate: ddpm, ddim, heun and lcm with
// clip_sample, which is for networks of pixels.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "sampling/scheduler.hpp"

namespace t2v::sampling {

class TabulatedScheduler final : public Scheduler {
 public:
  /// Finds the matrices of `scheduler` by stepping it with unit vectors, also as its noise, then proves them on other
  /// numbers. Null for one that clips, or is not linear for another reason. Its history is left as it was; it must
  /// outlive the result, which computes on `device`.
  static std::unique_ptr<TabulatedScheduler> of(Scheduler& scheduler, c10::Device device);

  // As of the scheduler, but for the order of its roundings (fp32). The noise is the very same.
  std::span<const double> timesteps() const override { return scheduler_.timesteps(); }
  double init_noise_sigma() const override { return scheduler_.init_noise_sigma(); }
  at::Tensor scale_model_input(const at::Tensor& sample, int64_t i) const override;
  at::Tensor step(const at::Tensor& model_output, int64_t i, const at::Tensor& sample, Rng& rng) override;
  at::Tensor add_noise(const at::Tensor& original, const at::Tensor& noise, int64_t i) const override {
    return scheduler_.add_noise(original, noise, i);
  }
  /// Under the scheduler's own names: a run kept here continues there, and the other way round.
  std::map<std::string, at::Tensor> state() const override;
  void set_state(const std::map<std::string, at::Tensor>& state) override;

  // A step as a function of tensors only.
  /// What it remembers, [R, numel of the state] fp32: zeros where there is nothing yet.
  at::Tensor remembered(const at::Tensor& sample) const;
  /// How often network call i draws noise.
  int64_t draws(int64_t i) const { return draws_[static_cast<size_t>(i)]; }
  /// The noise of network call i, drawn as the scheduler draws it: [K, numel of the state] fp32, K the most draws of
  /// any call. Zeros beyond this one's.
  at::Tensor noise(const at::Tensor& sample, int64_t i, Rng& rng) const;
  /// Of network call i: [R + 2, R + 2 + K] fp32.
  at::Tensor row(int64_t i) const { return table_[i]; }
  /// scale_model_input() by a row.
  static at::Tensor scaled(const at::Tensor& sample, const at::Tensor& row);
  /// [R + 1, numel]: the next state, then what is remembered after it.
  static at::Tensor advanced(const at::Tensor& sample, const at::Tensor& remembered, const at::Tensor& model_output,
                             const at::Tensor& noise, const at::Tensor& row);
  /// Takes over the result of advanced() for network call i and gives its state, shaped as `sample`.
  at::Tensor accept(const at::Tensor& advanced, int64_t i, const at::Tensor& sample);

 private:
  TabulatedScheduler(Scheduler& scheduler, c10::Device device) : scheduler_(scheduler), device_(device) {}
  bool tabulate();
  int64_t slot(const std::string& name);
  int64_t most_draws() const;

  Scheduler& scheduler_;
  c10::Device device_;
  at::Tensor table_;                             // [calls, R + 2, R + 2 + K]; see tabulate()
  std::vector<int64_t> draws_;                   // of every call
  std::map<std::string, int64_t> slots_;         // of what is remembered, by its name
  std::vector<std::vector<std::string>> names_;  // that there are after each call
  std::vector<std::string> present_;             // names that there are now
  at::Tensor remembered_;                        // [R, numel]; undefined: nothing yet
  std::vector<int64_t> shape_;                   // of the state
};

}  // namespace t2v::sampling
