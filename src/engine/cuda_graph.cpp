// SPDX-License-Identifier: Apache-2.0
#include "engine/cuda_graph.hpp"

#include <chrono>
#include <string>

#include "engine/cuda_plugin.hpp"
#include "t2v/error.hpp"

namespace t2v::engine {

namespace {

class CudaGraph final : public GraphDevice {
 public:
  CudaGraph(const cuda::PluginApi& api, int device) : api_(api), device_(device) {
    check(api_.graph_make(device, &graph_));
  }
  ~CudaGraph() override { api_.graph_free(graph_); }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  /// A recording holds the activations of a call: with weights and libraries beside them rarely more than half of the
  /// peak.
  bool has_room() override {
    int64_t reserved = 0, peak = 0, unused = 0, free_bytes = 0, total = 0;
    check(api_.memory_reserved(device_, &reserved, &peak, &unused));
    check(api_.memory_info(device_, &free_bytes, &total));
    return free_bytes > peak / 2 + total / 20;  // a twentieth of the device for what follows
  }
  void warm_up(const std::function<void()>& work) override { beside(/*records=*/0, work); }
  void record(const std::function<void()>& work) override { beside(/*records=*/1, work); }
  void replay() override { check(api_.graph_replay(graph_)); }
  double now() override {
    check(api_.synchronize(device_));
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

 private:
  void beside(int records, const std::function<void()>& work) {
    check(api_.graph_enter(graph_, records));
    try {
      work();
    } catch (...) {
      api_.graph_leave(graph_, /*keep=*/0);
      throw;
    }
    check(api_.graph_leave(graph_, /*keep=*/1));
  }
  void check(int status) const {
    if (status != 0) throw Error(ErrorCode::no_resource, std::string("CUDA graph: ") + api_.last_error());
  }

  const cuda::PluginApi& api_;
  int device_;
  void* graph_ = nullptr;
};

}  // namespace

std::unique_ptr<GraphDevice> make_cuda_graph(const cuda::PluginApi& api, c10::Device device) {
  return std::make_unique<CudaGraph>(api, device.index());
}

std::unique_ptr<GraphDevice> make_cuda_graph(c10::Device device) { return make_cuda_graph(cuda_plugin(), device); }

}  // namespace t2v::engine
