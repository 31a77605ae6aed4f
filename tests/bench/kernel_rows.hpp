// SPDX-License-Identifier: Apache-2.0
// The rows of the table: every kernel of ours at the shapes of real networks.
#pragma once

#include <string>
#include <vector>

#include <c10/core/Device.h>

#include "engine/cuda_plugin_api.hpp"
#include "kernel_table.hpp"

namespace t2v::bench {

/// Kernels of the CPU, in the calling thread.
std::vector<KernelRow> cpu_rows();

/// A plug-in's kernels on `device` in fp32, fp16 and bf16; `api` must outlive the rows. `is_small`: for a device that
/// is emulated, thread by thread.
std::vector<KernelRow> device_rows(const cuda::PluginApi& api, c10::Device device, bool is_small);

/// Numbers from -1 to 1, never zeros: some hardware computes those faster.
at::Tensor noise(at::IntArrayRef shape);
at::Tensor noise_bytes(at::IntArrayRef shape);
/// "16x64x16x16"
std::string shape_text(at::IntArrayRef shape);

}  // namespace t2v::bench
