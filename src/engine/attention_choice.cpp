// SPDX-License-Identifier: Apache-2.0
#include "engine/attention_choice.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <optional>
#include <utility>

#include "core/log.hpp"
#include "engine/device.hpp"
#include "engine/near.hpp"

namespace t2v::engine {

namespace {

constexpr std::array<std::pair<AttentionBackend, std::string_view>, 5> kNames{{
    {AttentionBackend::aten, "aten"},
    {AttentionBackend::flash, "flash"},
    {AttentionBackend::efficient, "efficient"},
    {AttentionBackend::cudnn, "cudnn"},
    {AttentionBackend::math, "math"},
}};

std::optional<AttentionBackend> backend_named(std::string_view text) {
  for (const auto& [backend, name] : kNames) {
    if (name == text) return backend;
  }
  return std::nullopt;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

bool has(const std::vector<AttentionBackend>& backends, AttentionBackend wanted) {
  return wanted == AttentionBackend::aten || std::find(backends.begin(), backends.end(), wanted) != backends.end();
}

}  // namespace

std::string_view backend_name(AttentionBackend backend) {
  return std::find_if(kNames.begin(), kNames.end(), [&](const auto& row) { return row.first == backend; })->second;
}

AttentionShape AttentionShape::of(const AttentionCall& call) {
  return {.dtype = call.q.scalar_type(),
          .batch = call.q.size(0),
          .heads = call.q.size(1),
          .queries = call.q.size(2),
          .keys = call.k.size(2),
          .head_dim = call.q.size(3),
          .is_causal = call.is_causal,
          .has_bias = call.bias.has_value()};
}

std::string AttentionShape::text() const {
  return dtype_name(dtype) + " " + std::to_string(batch) + "x" + std::to_string(heads) + " " + std::to_string(queries) +
         "x" + std::to_string(keys) + " d" + std::to_string(head_dim) + (is_causal ? " causal" : "") +
         (has_bias ? " bias" : "");
}

AttentionChoice::AttentionChoice(std::unique_ptr<AttentionDevice> device, AttentionFile file)
    : device_(std::move(device)),
      file_(std::move(file)),
      device_name_(device_->name()),
      from_file_(file_.choices_for(device_name_)) {}

at::Tensor AttentionChoice::compute(const AttentionCall& call) { return device_->compute(call, backend_for(call)); }

AttentionBackend AttentionChoice::backend_for(const AttentionCall& call) {
  const AttentionShape shape = AttentionShape::of(call);
  const std::lock_guard lock(mutex_);
  auto entry = known_.find(shape);
  if (entry == known_.end()) entry = known_.emplace(shape, look_up(call, shape)).first;
  if (!entry->second.is_settled && can_keep_ && AttentionTiming::is_allowed()) entry->second = choose(call, shape);
  return entry->second.backend;
}

AttentionChoice::Entry AttentionChoice::look_up(const AttentionCall& call, const AttentionShape& shape) {
  const auto row = from_file_.find(shape.text());
  if (row == from_file_.end()) return {};
  const auto backend = backend_named(row->second);
  if (backend && has(device_->alternatives(call), *backend)) return {*backend, true};
  log::debug("attention: {}: '{}' does not take it, ATen chooses", shape.text(), row->second);
  return {AttentionBackend::aten, true};
}

AttentionChoice::Entry AttentionChoice::choose(const AttentionCall& call, const AttentionShape& shape) {
  const std::vector<AttentionBackend> alternatives = device_->alternatives(call);
  if (alternatives.empty()) return {AttentionBackend::aten, true};
  std::string found;
  try {
    found = backend_name(fastest(call, alternatives));
  } catch (const std::exception& error) {  // timing keeps a result beside the call's own: memory may be short
    log::debug("attention: {}: not timed: {}", shape.text(), error.what());
    return {AttentionBackend::aten, true};
  }
  const auto kept = file_.keep(device_name_, shape.text(), found);
  if (!kept) {  // the next run could find another one, and a seed would give other bits
    can_keep_ = false;
    return {AttentionBackend::aten, true};
  }
  from_file_[shape.text()] = *kept;  // perhaps that of another process, which was there first
  return look_up(call, shape);
}

AttentionBackend AttentionChoice::fastest(const AttentionCall& call, std::vector<AttentionBackend> backends) {
  constexpr double kSampleSeconds = 2e-3;  // long beside the clock's own cost
  constexpr int kSamples = 5, kMostRepeats = 50;
  const at::Tensor wanted = device_->compute(call, AttentionBackend::aten);
  std::erase_if(backends, [&](AttentionBackend backend) { return !agrees(call, backend, wanted); });
  backends.insert(backends.begin(), AttentionBackend::aten);
  const double once = seconds_of(call, AttentionBackend::aten, 1);
  const int repeats = std::clamp(static_cast<int>(kSampleSeconds / std::max(once, 1e-6)), 1, kMostRepeats);

  std::vector<std::vector<double>> seconds(backends.size());
  for (int sample = 0; sample < kSamples; ++sample) {  // in turn, so that a clock that falls slows all alike
    for (size_t i = 0; i < backends.size(); ++i) seconds[i].push_back(seconds_of(call, backends[i], repeats));
  }
  size_t best = 0;
  const double own = median(seconds[0]);
  double least = kWorthwhile * own;
  for (size_t i = 1; i < backends.size(); ++i) {
    const double taken = median(seconds[i]);
    if (taken >= least) continue;
    best = i;
    least = taken;
  }
  log::debug("attention: {}: {} of {}, {} us where ATen's own choice takes {} us", AttentionShape::of(call).text(),
             backend_name(backends[best]), backends.size(), 1e6 * median(seconds[best]), 1e6 * own);
  return backends[best];
}

/// Also the call in which libraries make their plans. One that fails or runs out of memory is left out.
bool AttentionChoice::agrees(const AttentionCall& call, AttentionBackend backend, const at::Tensor& wanted) {
  try {
    if (are_near(device_->compute(call, backend), wanted, /*least_scale=*/0.0)) return true;
    log::debug("attention: {}: {} is left out: its result is another one", AttentionShape::of(call).text(),
               backend_name(backend));
  } catch (const std::exception& error) {
    log::debug("attention: {}: {} is left out: {}", AttentionShape::of(call).text(), backend_name(backend),
               error.what());
  }
  return false;
}

double AttentionChoice::seconds_of(const AttentionCall& call, AttentionBackend backend, int repeats) {
  const double start = device_->now();
  for (int i = 0; i < repeats; ++i) device_->compute(call, backend);
  return (device_->now() - start) / repeats;
}

}  // namespace t2v::engine
