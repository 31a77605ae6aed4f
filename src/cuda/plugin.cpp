// SPDX-License-Identifier: Apache-2.0
// The functions of the plug-in's table, over the CUDA runtime and libtorch's CUDA allocator and streams.
#include <cstdio>
#include <exception>
#include <string>

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include "cuda/graph.hpp"
#include "cuda/kernels/frames_to_rgb8.hpp"
#include "cuda/kernels/layer_kernels.hpp"
#include "engine/cuda_plugin_api.hpp"
#include "t2v/export.hpp"

namespace t2v::cuda {

namespace {

thread_local std::string last_message;

int failed(const std::string& message) {
  last_message = message;
  return 1;
}

int status_of(cudaError_t error) {
  if (error == cudaSuccess) return 0;
  cudaGetLastError();  // clears it, so that the next call starts clean
  return failed(std::string(cudaGetErrorName(error)) + ": " + cudaGetErrorString(error));
}

/// No C++ exception leaves the table: libtorch's become messages.
template <typename Work>
int guarded(Work work) {
  try {
    return work();
  } catch (const c10::Error& error) {
    return failed(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return failed(error.what());
  }
}

const char* last_error() { return last_message.c_str(); }

int device_count(int* count) {
  *count = 0;
  const cudaError_t error = cudaGetDeviceCount(count);
  if (error == cudaErrorNoDevice) {
    cudaGetLastError();
    *count = 0;
    return 0;
  }
  return status_of(error);
}

int device_info(int device, DeviceInfo* info) {
  cudaDeviceProp properties{};
  if (const int status = status_of(cudaGetDeviceProperties(&properties, device)); status != 0) return status;
  std::snprintf(info->name, sizeof info->name, "%s", properties.name);
  info->capability_major = properties.major;
  info->capability_minor = properties.minor;
  info->multiprocessors = properties.multiProcessorCount;
  info->total_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  return 0;
}

int memory_info(int device, int64_t* free_bytes, int64_t* total_bytes) {
  return guarded([&] {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    std::size_t free_now = 0;
    std::size_t total = 0;
    if (const int status = status_of(cudaMemGetInfo(&free_now, &total)); status != 0) return status;
    *free_bytes = static_cast<int64_t>(free_now);
    *total_bytes = static_cast<int64_t>(total);
    return 0;
  });
}

int memory_reserved(int device, int64_t* current_bytes, int64_t* peak_bytes, int64_t* unused_bytes) {
  return guarded([&] {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
    *current_bytes = stats.reserved_bytes[0].current;  // [0]: all pools together
    *peak_bytes = stats.reserved_bytes[0].peak;
    *unused_bytes = stats.reserved_bytes[0].current - stats.allocated_bytes[0].current;
    return 0;
  });
}

int synchronize(int device) {
  return guarded([&] {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    return status_of(cudaDeviceSynchronize());
  });
}

int empty_cache() {
  return guarded([] {
    c10::cuda::CUDACachingAllocator::emptyCache();
    return 0;
  });
}

/// Queues a kernel on the device's current libtorch stream.
template <auto kLaunch, typename Job>
int queue(int device, const Job& job) {
  return guarded([&] {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    const auto stream = c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device));
    return status_of(static_cast<cudaError_t>(kLaunch(job, stream.stream())));
  });
}

int graph_make(int device, void** graph) {
  return guarded([&] {
    *graph = new Graph(static_cast<c10::DeviceIndex>(device));
    return 0;
  });
}

/// Calls a member function of a graph.
template <auto kMember, typename... Arguments>
int of_graph(void* graph, Arguments... arguments) {
  return guarded([&] {
    (static_cast<Graph*>(graph)->*kMember)(arguments...);
    return 0;
  });
}

int graph_free(void* graph) {
  return guarded([&] {
    delete static_cast<Graph*>(graph);
    return 0;
  });
}

constexpr PluginApi kApi{kPluginAbi,
                         &last_error,
                         &device_count,
                         &device_info,
                         &memory_info,
                         &memory_reserved,
                         &synchronize,
                         &empty_cache,
                         &queue<launch_frames_to_rgb8, RgbJob>,
                         &queue<launch_group_norm, GroupNormJob>,
                         &queue<launch_frame_attention, FrameAttentionJob>,
                         &queue<launch_geglu, GegluJob>,
                         &queue<launch_add_biased, AddBiasedJob>,
                         &queue<launch_layer_norm, LayerNormJob>,
                         &queue<launch_rgb_to_yuv420, YuvJob>,
                         &graph_make,
                         &of_graph<&Graph::enter, int>,
                         &of_graph<&Graph::leave, int>,
                         &of_graph<&Graph::replay>,
                         &graph_free};

}  // namespace

}  // namespace t2v::cuda

extern "C" T2V_API const t2v::cuda::PluginApi* t2v_cuda_plugin() { return &t2v::cuda::kApi; }
