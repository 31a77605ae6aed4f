// SPDX-License-Identifier: Apache-2.0
// CUDA's 16-bit types by libtorch's.
#pragma once

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

using __half = c10::Half;
using __nv_bfloat16 = c10::BFloat16;

inline float __half2float(__half x) { return x; }
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __half __float2half_rn(float x) { return x; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
