// SPDX-License-Identifier: Apache-2.0
#include "sampling/tabulated.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "core/text.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::sampling {

namespace {

using at::Tensor;
using Named = std::map<std::string, Tensor>;

/// What a step is given: sample, prediction, what is remembered in the order of `names`, then noise in the order of its
/// draws. [2 + names + draws, numbers]
struct Given {
  const std::vector<std::string>& names;
  Tensor values;

  /// As elements of a batch of one, whatever axes the scheduler expects.
  Tensor at(int64_t k) const { return values[k].view({1, -1, 1, 1}); }
};

struct Taken {
  Tensor next;       // [numbers]
  Named remembered;  // each [numbers]
  int64_t draws = 0;
};

/// Nothing where the scheduler's tensors, its noise among them, are of another size than the state. Noise that is not
/// given is zero.
std::optional<Taken> take_step(Scheduler& scheduler, int64_t i, const Given& given) {
  Named history;
  for (size_t k = 0; k < given.names.size(); ++k) history[given.names[k]] = given.at(static_cast<int64_t>(k) + 2);
  scheduler.set_state(history);
  const int64_t numbers = given.values.size(1), first_draw = static_cast<int64_t>(given.names.size()) + 2;
  Taken taken;
  bool fits = true;
  Rng rng(0, c10::Device(c10::kCPU));
  const Rng::DrawnFrom source(rng, [&](at::IntArrayRef shape) {
    const int64_t k = first_draw + taken.draws++;
    const Tensor nothing = at::zeros(shape, given.values.options());
    fits = fits && nothing.numel() == numbers;
    return fits && k < given.values.size(0) ? given.values[k].view(shape) : nothing;
  });
  taken.next = scheduler.step(given.at(1), i, given.at(0), rng).reshape({-1});
  if (!fits || taken.next.numel() != numbers) return std::nullopt;
  for (const auto& [name, tensor] : scheduler.state()) {
    if (tensor.numel() != numbers) return std::nullopt;
    taken.remembered[name] = tensor.reshape({-1}).to(c10::kDouble);
  }
  taken.next = taken.next.to(c10::kDouble);
  return taken;
}

/// The weights of all that step i takes: what it makes of unit vectors.
std::optional<Taken> weights_of(Scheduler& scheduler, int64_t i, const std::vector<std::string>& names) {
  const auto step_units = [&](int64_t draws) {
    const auto count = static_cast<int64_t>(names.size()) + 2 + draws;
    return take_step(scheduler, i, {names, at::eye(count, at::TensorOptions().dtype(c10::kDouble))});
  };
  const auto silent = step_units(0);
  if (!silent || silent->draws == 0) return silent;
  const auto whole = step_units(silent->draws);
  return whole && whole->draws == silent->draws ? whole : std::nullopt;
}

/// Whether `got` is the sum of `given` weighted by `weights` [2 + names + draws], within what fp32 may round away.
bool is_sum(const Tensor& got, const Tensor& weights, const Tensor& given) {
  constexpr double kTolerance = 1e-5;
  const Tensor parts = weights.unsqueeze(1) * given;
  const Tensor size = parts.abs().sum(0) + 1e-30;
  return ((got - parts.sum(0)).abs() <= kTolerance * size).all().item<bool>();
}

/// Large numbers find what clips, small ones what is added.
bool proves_linear(Scheduler& scheduler, int64_t i, const std::vector<std::string>& names, const Taken& weights) {
  const auto count = static_cast<int64_t>(names.size()) + 2 + weights.draws;
  const auto options = at::TensorOptions().dtype(c10::kDouble);
  Rng rng(1, c10::Device(c10::kCPU));
  for (const double scale : {1e-3, 1.0, 1e3}) {
    const Given given{names, rng.normal({count, 8}, c10::kDouble, c10::Device(c10::kCPU)) * scale};
    const auto taken = take_step(scheduler, i, given);
    if (!taken || taken->draws != weights.draws || !is_sum(taken->next, weights.next, given.values)) return false;
    for (const auto& [name, tensor] : taken->remembered) {
      if (!is_sum(tensor, weights.remembered.at(name), given.values)) return false;
    }
    const Tensor scaled = scheduler.scale_model_input(at::ones({1}, options) * scale, i).to(c10::kDouble);
    const Tensor one = scheduler.scale_model_input(at::ones({1}, options), i).to(c10::kDouble);
    if (!is_sum(scaled, one, at::ones({1, 1}, options) * scale)) return false;
  }
  return true;
}

}  // namespace

int64_t TabulatedScheduler::slot(const std::string& name) {
  return slots_.emplace(name, static_cast<int64_t>(slots_.size())).first->second;
}

// Rows of a matrix: the next state, what is remembered, and the factor of scale_model_input(). Columns: the state, what
// was remembered, the prediction, the noise.
bool TabulatedScheduler::tabulate() {
  std::vector<Taken> steps;
  std::vector<std::vector<std::string>> before;
  std::vector<std::string> names;
  const auto calls = static_cast<int64_t>(timesteps().size());
  for (int64_t i = 0; i < calls; ++i) {
    const auto taken = weights_of(scheduler_, i, names);
    if (!taken || !proves_linear(scheduler_, i, names, *taken)) return false;
    draws_.push_back(taken->draws);
    before.push_back(std::exchange(names, {}));
    for (const auto& [name, tensor] : taken->remembered) {
      slot(name);
      names.push_back(name);
    }
    names_.push_back(names);
    steps.push_back(*taken);
  }

  const auto size = static_cast<int64_t>(slots_.size()) + 2;
  const Tensor table = at::zeros({calls, size, size + most_draws()}, at::TensorOptions().dtype(c10::kFloat));
  for (int64_t i = 0; i < calls; ++i) {
    const Taken& taken = steps[static_cast<size_t>(i)];
    const auto& known = before[static_cast<size_t>(i)];
    const auto fill = [&](const Tensor& row, const Tensor& weights) {
      row[0] = weights[0];
      row[size - 1] = weights[1];
      for (size_t k = 0; k < known.size(); ++k) row[slot(known[k]) + 1] = weights[static_cast<int64_t>(k) + 2];
      const auto first_draw = static_cast<int64_t>(known.size()) + 2;
      row.narrow(0, size, taken.draws).copy_(weights.narrow(0, first_draw, taken.draws));
    };
    fill(table[i][0], taken.next);
    for (const auto& [name, weights] : taken.remembered) fill(table[i][slot(name) + 1], weights);
    table[i][size - 1][0] = scheduler_.scale_model_input(at::ones({1}), i)[0];
  }
  table_ = table.to(device_);
  return true;
}

std::unique_ptr<TabulatedScheduler> TabulatedScheduler::of(Scheduler& scheduler, c10::Device device) {
  std::unique_ptr<TabulatedScheduler> made(new TabulatedScheduler(scheduler, device));
  const Named history = scheduler.state();
  const bool is_linear = made->tabulate();
  scheduler.set_state(history);
  return is_linear ? std::move(made) : nullptr;
}

Tensor TabulatedScheduler::scaled(const Tensor& sample, const Tensor& row) { return sample * row[-1][0]; }

Tensor TabulatedScheduler::advanced(const Tensor& sample, const Tensor& remembered, const Tensor& model_output,
                                    const Tensor& noise, const Tensor& row) {
  const auto flat = [](const Tensor& x) { return x.to(c10::kFloat).reshape({1, -1}); };
  return at::mm(row.narrow(0, 0, row.size(0) - 1), at::cat({flat(sample), remembered, flat(model_output), noise}, 0));
}

int64_t TabulatedScheduler::most_draws() const {
  return draws_.empty() ? 0 : *std::max_element(draws_.begin(), draws_.end());
}

Tensor TabulatedScheduler::noise(const Tensor& sample, int64_t i, Rng& rng) const {
  const Tensor noise = at::zeros({most_draws(), sample.numel()}, sample.options().dtype(c10::kFloat));
  for (int64_t k = 0; k < draws(i); ++k) noise[k].copy_(rng.normal_like(sample).view({-1}));
  return noise;
}

Tensor TabulatedScheduler::remembered(const Tensor& sample) const {
  if (remembered_.defined()) return remembered_;
  return at::zeros({static_cast<int64_t>(slots_.size()), sample.numel()}, sample.options().dtype(c10::kFloat));
}

Tensor TabulatedScheduler::accept(const Tensor& advanced, int64_t i, const Tensor& sample) {
  if (i > 0 && present_ != names_[static_cast<size_t>(i) - 1]) {
    throw Error(ErrorCode::bad_input, "sampler state: wanted '" + join(names_[static_cast<size_t>(i) - 1], ", ") +
                                          "' to continue from, got '" + join(present_, ", ") + "'");
  }
  remembered_ = advanced.narrow(0, 1, advanced.size(0) - 1);
  present_ = names_[static_cast<size_t>(i)];
  shape_ = sample.sizes().vec();
  return advanced[0].view(shape_);
}

Tensor TabulatedScheduler::scale_model_input(const Tensor& sample, int64_t i) const { return scaled(sample, row(i)); }

Tensor TabulatedScheduler::step(const Tensor& model_output, int64_t i, const Tensor& sample, Rng& rng) {
  return accept(advanced(sample, remembered(sample), model_output, noise(sample, i, rng), row(i)), i, sample);
}

Named TabulatedScheduler::state() const {
  Named state;
  for (const std::string& name : present_) state[name] = remembered_[slots_.at(name)].view(shape_);
  return state;
}

void TabulatedScheduler::set_state(const Named& state) {
  remembered_ = Tensor();
  present_.clear();
  for (const auto& [name, tensor] : state) {
    const auto found = slots_.find(name);
    if (found == slots_.end()) continue;  // of another sampler: what it lacks, it takes for zero
    if (!remembered_.defined()) remembered_ = remembered(tensor).clone();
    shape_ = tensor.sizes().vec();
    remembered_[found->second].copy_(tensor.reshape({-1}));
    present_.push_back(name);
  }
}

}  // namespace t2v::sampling
