// SPDX-License-Identifier: Apache-2.0
// From --device, --dtype and --threads to a placement.
#pragma once

#include <string>

#include "t2v/request.hpp"
#include "tensor/placement.hpp"

namespace t2v::engine {

/// Resolves device and dtype. "auto" is cuda where it works, else cpu; fp32 on CPU, `cuda_dtype` on CUDA, whose
/// warm-up then has begun (engine/cuda_warm_up.hpp). Throws Error{usage} for unknown names, Error{no_resource} for a
/// device that is not there.
Placement resolve_placement(const LoadOptions& options, c10::ScalarType cuda_dtype);

/// Sets libtorch's thread count: options.threads, or the cores this process may use.
void apply_threads(const LoadOptions& options);

std::string device_name(const Placement&);  ///< "cpu", "cuda:0"
std::string dtype_name(c10::ScalarType);    ///< "fp32", "fp16", "bf16"

}  // namespace t2v::engine
