// SPDX-License-Identifier: Apache-2.0
// A network that is loaded when it is needed, and again: in fp32, for the calls whose numbers its own precision can't
// hold, or where its memory was given to others in between.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "engine/cuda_warm_up.hpp"
#include "engine/load_memory.hpp"
#include "engine/stage.hpp"
#include "tensor/placement.hpp"

namespace t2v::engine {

/// Only one form is in memory at a time, so a switch costs loading but no more memory than the larger form. The weights
/// come from the checkpoint again: what was Inf in fp16 has its value in fp32.
template <class Network>
class Reloadable {
 public:
  using Load = std::function<std::unique_ptr<Network>(const Placement&)>;

  Reloadable() = default;  ///< of a part that is never needed
  Reloadable(const Placement& own, Load load) : own_(own), now_(own), load_(std::move(load)) {}

  explicit operator bool() const { return static_cast<bool>(load_); }
  bool is_loaded() const { return network_ != nullptr; }
  const Placement& placement() const { return now_; }  ///< of what get() gives
  const Network& get() {
    if (!network_) {
      const LoadMemoryScope memory;
      network_ = load_(now_);
    }
    return *network_;
  }
  /// Gives the memory back until get() loads it again.
  void release() { network_.reset(); }
  /// The meaning of sampling::Denoiser::use_fp32().
  bool use_fp32(bool on) {
    if (!load_ || own_.dtype == c10::ScalarType::Float) return false;
    const c10::ScalarType wanted = on ? c10::ScalarType::Float : own_.dtype;
    if (wanted != now_.dtype) network_.reset();
    now_.dtype = wanted;
    return true;
  }

 private:
  Placement own_, now_;
  Load load_;
  std::unique_ptr<Network> network_;
};

/// Loads those that are not in memory, as a stage of the run. All of them may run then.
template <class... Network>
void load_networks(Progress& progress, Reloadable<Network>&... networks) {
  if (const int missing = (static_cast<int>(!networks.is_loaded()) + ...)) {
    StageScope stage(progress, Stage::load, missing);
    const auto load = [&](auto& network) {
      if (network.is_loaded()) return;
      network.get();
      stage.step();
    };
    (load(networks), ...);
  }
  wait_for_cuda_kernels();
}

}  // namespace t2v::engine
