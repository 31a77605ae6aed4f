// SPDX-License-Identifier: Apache-2.0
// The CUDA device of tests, with the plug-in and its kernels in use as in the program.
#pragma once

#include <filesystem>
#include <optional>

#include <c10/core/Device.h>

#include "engine/cuda_kernels.hpp"
#include "engine/cuda_plugin.hpp"

namespace t2v::test {

/// Nothing where this machine has none, or this build no plug-in.
inline std::optional<c10::Device> cuda_device() {
  const std::filesystem::path file = std::filesystem::path(T2V_BINARY_DIR) / "libt2v_cuda.so";
  if (!engine::cuda_likely() || !std::filesystem::exists(file)) return std::nullopt;
  const cuda::PluginApi& api = engine::open_cuda_plugin(file);
  int count = 0;
  if (api.device_count(&count) != 0 || count == 0) return std::nullopt;
  engine::use_cuda_plugin(api);
  const c10::Device device(c10::kCUDA, 0);
  static const engine::CudaKernels kernels(api, device);
  set_device_kernels(&kernels);
  return device;
}

}  // namespace t2v::test
