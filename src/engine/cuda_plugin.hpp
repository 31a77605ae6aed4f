// SPDX-License-Identifier: Apache-2.0
// Opens the CUDA plug-in, libt2v_cuda.so beside this library, the first time a CUDA device is asked for.
#pragma once

#include <cstdint>
#include <filesystem>

#include "engine/cuda_plugin_api.hpp"

namespace t2v::engine {

/// Whether this machine shows signs of an NVIDIA driver. Opens no library.
bool cuda_likely();

/// The plug-in, opened on the first call. Throws Error{no_resource} saying what is missing: the driver, the plug-in, a
/// library it needs.
const cuda::PluginApi& cuda_plugin();

/// From now on cuda_plugin() is this one: for test programs, which do not lie beside it.
void use_cuda_plugin(const cuda::PluginApi& api);

int cuda_device_count();
/// Throws Error{no_resource} unless device `index` can be used.
void require_cuda(int index);

/// What this process can still allocate: free memory, and what libtorch's allocator keeps unused.
int64_t cuda_free_bytes(int index);
int64_t cuda_total_bytes(int index);
void cuda_synchronize(int index);
void cuda_empty_cache();

/// The first step of cuda_plugin() for a given file, apart so that tests can show it wrong files.
const cuda::PluginApi& open_cuda_plugin(const std::filesystem::path& file);

}  // namespace t2v::engine
