// SPDX-License-Identifier: Apache-2.0
#include "engine/device.hpp"

#include <sched.h>

#include <array>
#include <charconv>
#include <vector>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>

#include "core/log.hpp"
#include "core/text.hpp"
#include "engine/cuda_attention.hpp"
#include "engine/cuda_plugin.hpp"
#include "engine/cuda_warm_up.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::engine {

namespace {

constexpr std::array<std::pair<std::string_view, c10::ScalarType>, 3> kDtypes{{
    {"fp32", c10::ScalarType::Float},
    {"fp16", c10::ScalarType::Half},
    {"bf16", c10::ScalarType::BFloat16},
}};

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

/// The index in "cuda" (0) or "cuda:N".
int cuda_index(const std::string& device) {
  if (device == "cuda") return 0;
  int index = -1;
  const char* end = device.data() + device.size();
  const auto [stop, error] = std::from_chars(device.data() + 5, end, index);
  if (error != std::errc{} || stop != end || index < 0) {
    throw Error(ErrorCode::usage, "bad value: --device: wanted auto, cpu or cuda[:N], got '" + device + "'");
  }
  return index;
}

/// A device that has computed something. Throws Error{no_resource}.
c10::Device cuda_device(int index) {
  require_cuda(index);
  const c10::Device device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
  try {
    at::zeros({1}, at::TensorOptions().device(device)).add_(1).item<float>();
  } catch (const c10::Error& error) {
    throw Error(ErrorCode::no_resource,
                "CUDA: device " + std::to_string(index) + ": " + first_line(error.what_without_backtrace()),
                "`nvidia-smi` shows the state of the driver and its devices; --device cpu computes without them");
  }
  // fp32 means fp32: convolutions would otherwise round their inputs to TF32's ten bits.
  at::globalContext().setAllowTF32CuDNN(false);
  return device;
}

c10::Device resolve_device(const std::string& device) {
  if (device == "cpu") return c10::Device(c10::kCPU);
  if (device == "auto") {
    if (!cuda_likely()) return c10::Device(c10::kCPU);
    try {
      if (cuda_device_count() == 0) return c10::Device(c10::kCPU);  // a driver without a device, or hidden ones
      return cuda_device(0);
    } catch (const Error& error) {
      log::warn("the CUDA device can't be used, computing on the CPU: {}", error.what());
      return c10::Device(c10::kCPU);
    }
  }
  if (device == "cuda" || device.starts_with("cuda:")) {
    return cuda_device(cuda_index(device));
  }
  throw Error(ErrorCode::usage, "bad value: --device: wanted auto, cpu or cuda[:N], got '" + device + "'");
}

c10::ScalarType resolve_dtype(const std::string& dtype, const c10::Device& device, c10::ScalarType cuda_dtype) {
  if (dtype == "auto") return device.is_cuda() ? cuda_dtype : c10::ScalarType::Float;
  std::vector<std::string> known{"auto"};
  for (const auto& [name, type] : kDtypes) {
    if (dtype == name) return type;
    known.emplace_back(name);
  }
  throw Error(ErrorCode::usage, "bad value: --dtype: got '" + dtype + "'", did_you_mean(dtype, known));
}

}  // namespace

Placement resolve_placement(const LoadOptions& options, c10::ScalarType cuda_dtype) {
  const c10::Device device = resolve_device(options.device);
  const Placement placement{device, resolve_dtype(options.dtype, device, cuda_dtype)};
  if (device.is_cuda()) {
    use_cuda_attention(device);
    begin_cuda_warm_up(placement);
  }
  return placement;
}

void apply_threads(const LoadOptions& options) {
  at::set_num_threads(options.threads > 0 ? options.threads : usable_cores());
}

std::string device_name(const Placement& placement) { return placement.device.str(); }

std::string dtype_name(c10::ScalarType dtype) {
  for (const auto& [name, type] : kDtypes) {
    if (dtype == type) return std::string(name);
  }
  return c10::toString(dtype);
}

}  // namespace t2v::engine
