// SPDX-License-Identifier: Apache-2.0
// A network's call, or a whole step around it (engine/whole_steps.hpp), recorded once and replayed in the steps after:
// the thousand kernels of a UNet then cost one launch (CUDA graphs). A recording is used only where it gave, for another step's input, the very bits of the call itself and
// gave them sooner; everything else is computed as if there were none.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "tensor/placement.hpp"

namespace t2v::engine {

/// Where work can be recorded: a CUDA device (engine/cuda_graph.hpp). Any function may throw; the recording is then
/// given up.
class GraphDevice {
 public:
  virtual ~GraphDevice() = default;
  /// Whether there is memory for a second set of activations.
  virtual bool has_room() = 0;
  /// Runs work where it will be recorded, so that libraries have made their plans and buffers by then.
  virtual void warm_up(const std::function<void()>& work) = 0;
  /// Keeps what work queues, instead of the last recording, without running it.
  virtual void record(const std::function<void()>& work) = 0;
  virtual void replay() = 0;
  virtual double now() = 0;  ///< seconds on some clock, once everything queued is done
};

class StepGraph {
 public:
  /// A pure function of its tensors and of what stays the same for the whole run: it may be called again with others.
  using Work = std::function<at::Tensor(const std::vector<at::Tensor>&)>;
  using MakeDevice = std::function<std::unique_ptr<GraphDevice>()>;

  /// Recording costs about two calls, so with fewer than kMinCalls to come nothing is recorded; nor with an empty
  /// `make`. In calls that are neither recorded nor few, forms of attention may be timed.
  StepGraph(MakeDevice make, int64_t calls);
  static constexpr int64_t kMinCalls = 8;

  /// work(inputs), for inputs of any shape. The result is the caller's own. Works of different `kind` are told apart.
  at::Tensor run(const std::vector<at::Tensor>& inputs, const Work& work, int64_t kind = 0);
  /// The same for work that is no function of its inputs alone: never recorded.
  at::Tensor call(const std::vector<at::Tensor>& inputs, const Work& work) const;
  /// Whether some work of this kind turned out not to be for recording.
  bool has_given_up(int64_t kind) const;
  /// To be called when something that `work` uses has moved: weights that were loaded again in another precision.
  /// Nothing more is recorded; where that happens from step to step it would not pay.
  void stop() {
    entries_.clear();
    make_ = {};
    is_long_ = false;
  }

 private:
  enum class Stage { recorded, proven, given_up };
  /// Of one kind of work and one combination of shapes.
  struct Entry {
    int64_t kind = 0;
    std::vector<at::Tensor> inputs;  // at the addresses that the recording reads
    at::Tensor output;
    std::unique_ptr<GraphDevice> device;
    Stage stage = Stage::given_up;
  };
  Entry* find(const std::vector<at::Tensor>& inputs, int64_t kind);
  at::Tensor first_run(Entry& entry, const std::vector<at::Tensor>& inputs, const Work& work) const;
  at::Tensor proving_run(Entry& entry, const std::vector<at::Tensor>& inputs, const Work& work) const;
  static at::Tensor replayed(Entry& entry, const std::vector<at::Tensor>& inputs);
  static void give_up(Entry& entry, const char* why);

  bool is_long_;  // calls enough to pay for finding out what is faster
  MakeDevice make_;
  std::list<Entry> entries_;
};

/// Whether what computes there may be recorded: on CUDA.
bool can_record(c10::Device device);
/// Recordings for networks placed there; none where can_record() says no, or while operations are timed one by one.
StepGraph step_graph(const Placement& placement, int64_t calls);
/// Lets every device record, by `make`; empty: as before. For tests.
void set_graph_devices(StepGraph::MakeDevice make);

}  // namespace t2v::engine
