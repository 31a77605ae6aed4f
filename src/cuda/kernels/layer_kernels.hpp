// SPDX-License-Identifier: Apache-2.0
// The CUDA forms of nn/kernels and of media/color, by the jobs of engine/cuda_plugin_api.hpp. Each queues its kernels
// on the stream and returns a cudaError_t as a number, 0 for success; cudaErrorInvalidValue for shapes it does not
// take.
#pragma once

#include "engine/cuda_plugin_api.hpp"

struct CUstream_st;

namespace t2v::cuda {

int launch_group_norm(const GroupNormJob& job, CUstream_st* stream);
int launch_frame_attention(const FrameAttentionJob& job, CUstream_st* stream);
int launch_add_biased(const AddBiasedJob& job, CUstream_st* stream);
int launch_geglu(const GegluJob& job, CUstream_st* stream);
int launch_layer_norm(const LayerNormJob& job, CUstream_st* stream);
int launch_rgb_to_yuv420(const YuvJob& job, CUstream_st* stream);

}  // namespace t2v::cuda
