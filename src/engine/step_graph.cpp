// SPDX-License-Identifier: Apache-2.0
#include "engine/step_graph.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include <ATen/ops/empty_like.h>
#include <ATen/ops/equal.h>

#include "core/log.hpp"
#include "engine/cuda_graph.hpp"
#include "tensor/attention_backends.hpp"
#include "tensor/op_profile.hpp"

namespace t2v::engine {

namespace {

constexpr size_t kMaxEntries = 4;  // shapes of one run: with and without guidance, a last shorter window

bool are_alike(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() && a.device() == b.device();
}

StepGraph::MakeDevice& given_devices() {
  static StepGraph::MakeDevice make;
  return make;
}

double seconds_of(GraphDevice& device, const std::function<void()>& work) {
  const double start = device.now();
  work();
  return device.now() - start;
}

}  // namespace

StepGraph::StepGraph(MakeDevice make, int64_t calls)
    : is_long_(calls >= kMinCalls), make_(is_long_ ? std::move(make) : MakeDevice()) {}

StepGraph::Entry* StepGraph::find(const std::vector<at::Tensor>& inputs, int64_t kind) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.kind == kind &&
           std::equal(inputs.begin(), inputs.end(), entry.inputs.begin(), entry.inputs.end(), are_alike);
  });
  return found == entries_.end() ? nullptr : &*found;
}

void StepGraph::give_up(Entry& entry, const char* why) {
  log::debug("a step is not replayed: {}", why);
  entry.device.reset();
  entry.output = at::Tensor();
  entry.stage = Stage::given_up;
}

at::Tensor StepGraph::first_run(Entry& entry, const std::vector<at::Tensor>& inputs, const Work& work) const {
  entry.inputs = inputs;  // should anything below fail, they still say which shape this was
  at::Tensor result;
  try {
    entry.device = make_();
    entry.device->warm_up([&] { result = work(inputs); });
  } catch (const std::exception& error) {
    give_up(entry, error.what());
    return result.defined() ? result : work(inputs);  // whatever `work` itself throws, it throws again
  }
  try {
    if (!entry.device->has_room()) {
      give_up(entry, "no memory for a second set of activations");
      return result;
    }
    std::vector<at::Tensor> own;
    for (const at::Tensor& input : inputs) own.push_back(at::empty_like(input).copy_(input));
    entry.inputs = std::move(own);
    const AttentionTiming untimed(false);  // a recording can't wait for the device
    entry.device->record([&entry, work] { entry.output = work(entry.inputs); });
    entry.stage = Stage::recorded;
  } catch (const std::exception& error) {
    give_up(entry, error.what());
  }
  return result;
}

at::Tensor StepGraph::replayed(Entry& entry, const std::vector<at::Tensor>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) entry.inputs[i].copy_(inputs[i]);
  entry.device->replay();
  return entry.output.clone();
}

at::Tensor StepGraph::proving_run(Entry& entry, const std::vector<at::Tensor>& inputs, const Work& work) const {
  try {
    at::Tensor fast, plain;
    replayed(entry, inputs);  // not timed: the first replay brings the recording to the device
    const double fast_seconds = seconds_of(*entry.device, [&] { fast = replayed(entry, inputs); });
    const double plain_seconds = seconds_of(*entry.device, [&] { plain = work(inputs); });
    log::debug("a step: {:.2f} ms replayed, {:.2f} ms called", 1e3 * fast_seconds, 1e3 * plain_seconds);
    if (!at::equal(fast, plain)) {
      give_up(entry, "its bits are not those of the call");
    } else if (fast_seconds >= plain_seconds) {
      give_up(entry, "it is no faster than the call");
    } else {
      entry.stage = Stage::proven;
    }
    return plain;
  } catch (const std::exception& error) {
    give_up(entry, error.what());
    return work(inputs);
  }
}

bool StepGraph::has_given_up(int64_t kind) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& entry) { return entry.kind == kind && entry.stage == Stage::given_up; });
}

at::Tensor StepGraph::call(const std::vector<at::Tensor>& inputs, const Work& work) const {
  const AttentionTiming timed(is_long_);
  return work(inputs);
}

at::Tensor StepGraph::run(const std::vector<at::Tensor>& inputs, const Work& work, int64_t kind) {
  const AttentionTiming timed(is_long_);
  if (!make_) return work(inputs);
  Entry* entry = find(inputs, kind);
  if (entry == nullptr) {
    if (entries_.size() == kMaxEntries) return work(inputs);
    entries_.emplace_back().kind = kind;
    return first_run(entries_.back(), inputs, work);
  }
  switch (entry->stage) {
    case Stage::recorded: return proving_run(*entry, inputs, work);
    case Stage::proven: return replayed(*entry, inputs);
    case Stage::given_up: break;
  }
  return work(inputs);
}

bool can_record(c10::Device device) { return device.is_cuda() || given_devices(); }

StepGraph step_graph(const Placement& placement, int64_t calls) {
  if (!can_record(placement.device) || wait_for_operations) return {{}, calls};
  if (given_devices()) return {given_devices(), calls};
  return {[device = placement.device] { return make_cuda_graph(device); }, calls};
}

void set_graph_devices(StepGraph::MakeDevice make) { given_devices() = std::move(make); }

}  // namespace t2v::engine
