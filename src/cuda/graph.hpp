// SPDX-License-Identifier: Apache-2.0
// A CUDA graph of what libtorch queues, with a stream to record on.
#pragma once

#include <optional>

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace t2v::cuda {

/// Functions throw c10::Error.
class Graph {
 public:
  explicit Graph(c10::DeviceIndex device);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void enter(int records);
  void leave(int keep);
  void replay();

 private:
  c10::DeviceIndex device_;
  c10::cuda::CUDAStream stream_;
  std::optional<c10::cuda::CUDAStreamGuard> guard_;  // between enter() and leave()
  std::optional<at::cuda::CUDAGraph> graph_;
  at::cuda::MempoolId_t pool_;  // of the recording's memory
  void drop_recording();

  bool is_recording_ = false, is_recorded_ = false;
};

}  // namespace t2v::cuda
