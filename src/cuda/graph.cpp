// SPDX-License-Identifier: Apache-2.0
#include "cuda/graph.hpp"

#include <c10/cuda/CUDAException.h>
#include <cuda_runtime_api.h>

namespace t2v::cuda {

namespace {

void wait_for(c10::DeviceIndex device) {
  const c10::cuda::CUDAGuard guard(device);
  C10_CUDA_CHECK(cudaDeviceSynchronize());
}

}  // namespace

Graph::Graph(c10::DeviceIndex device)
    : device_(device), stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device)) {}

Graph::~Graph() {
  cudaDeviceSynchronize();  // a replay may still run; what it says is another call's matter
}

void Graph::enter(int records) {
  wait_for(device_);
  guard_.emplace(stream_);
  if (records == 0) return;
  is_recorded_ = false;
  graph_.emplace();
  // Other threads of the process may ask the runtime for things that a recording forbids: only this one is held to it.
  graph_->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
  is_recording_ = true;
}

void Graph::leave(int keep) {
  const bool was_recording = is_recording_;
  is_recording_ = false;
  try {
    if (was_recording) graph_->capture_end();
  } catch (...) {
    graph_.reset();
    guard_.reset();
    cudaGetLastError();
    if (keep != 0) throw;
    return;
  }
  guard_.reset();
  if (was_recording && keep == 0) graph_.reset();
  is_recorded_ = was_recording && keep != 0;
  wait_for(device_);
}

void Graph::replay() {
  TORCH_CHECK(is_recorded_, "nothing was recorded");
  graph_->replay();
}

}  // namespace t2v::cuda
