// SPDX-License-Identifier: Apache-2.0
// Opens libt2v_cuda.so, the only thing linked to libtorch_cuda, when a CUDA device is asked for.
#pragma once

namespace t2v::engine {

/// Cheap: is there an NVIDIA driver on this machine at all? Loads nothing.
bool cuda_likely();

/// Loads the plug-in (once) and checks that device `index` exists and works. Throws Error{no_resource} with the reason
/// (no driver, plug-in not built, library missing, no such device) and a hint.
void require_cuda(int index);

}  // namespace t2v::engine
