// SPDX-License-Identifier: Apache-2.0
#include "cuda/graph.hpp"

#include <map>
#include <mutex>

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <cuda_runtime_api.h>

namespace t2v::cuda {

namespace {

void wait_for(c10::DeviceIndex device) {
  const c10::cuda::CUDAGuard guard(device);
  C10_CUDA_CHECK(cudaDeviceSynchronize());
}

/// One for all graphs of a device: the allocator keeps what each stream has freed apart from the others.
c10::cuda::CUDAStream recording_stream(c10::DeviceIndex device) {
  static std::mutex mutex;
  static std::map<c10::DeviceIndex, c10::cuda::CUDAStream> streams;
  const std::lock_guard lock(mutex);
  const auto known = streams.find(device);
  if (known != streams.end()) return known->second;
  return streams.emplace(device, c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device)).first->second;
}

}  // namespace

Graph::Graph(c10::DeviceIndex device) : device_(device), stream_(recording_stream(device)) {}

Graph::~Graph() {
  int before = 0;
  cudaGetDevice(&before);
  cudaSetDevice(device_);
  cudaDeviceSynchronize();  // a replay may still run; what it says is another call's matter
  cudaSetDevice(before);
}

void Graph::enter(int records) {
  wait_for(device_);
  guard_.emplace(stream_);
  if (records == 0) return;
  is_recorded_ = false;
  graph_.emplace();
  pool_ = at::cuda::graph_pool_handle();
  try {
    // Other threads of the process may ask the runtime for things that a recording forbids: only this one is held to
    // it.
    graph_->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
  } catch (...) {
    drop_recording();
    throw;
  }
  is_recording_ = true;
}

/// After a failure in between libtorch's allocator would take every later allocation for one of the recording.
void Graph::drop_recording() {
  try {
    c10::cuda::CUDACachingAllocator::endAllocateToPool(device_, pool_);
    c10::cuda::CUDACachingAllocator::releasePool(device_, pool_);
  } catch (const c10::Error&) {  // it had not begun, or was ended already
  }
  graph_.reset();
  guard_.reset();
  cudaGetLastError();
}

void Graph::leave(int keep) {
  const bool was_recording = is_recording_;
  is_recording_ = false;
  try {
    if (was_recording) graph_->capture_end();
  } catch (...) {
    drop_recording();
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
