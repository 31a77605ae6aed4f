// SPDX-License-Identifier: Apache-2.0
// Gated GELU: hidden * gelu(gate), with the error function (Shazeer 2020, arXiv 2002.05202; diffusers GEGLU). fp32,
// CPU.
#pragma once

#include <cstdint>

namespace t2v::nn::kernels {

/// x [rows, 2, width], hidden first, contiguous -> out [rows, width]. Plain loop; the meaning of the fast form.
void geglu_reference(const float* x, float* out, int64_t rows, int64_t width);

/// The same in one pass with the widest vectors this CPU has; absolute error of gelu below 3e-7 * |gate|.
void geglu_cpu(const float* x, float* out, int64_t rows, int64_t width);

}  // namespace t2v::nn::kernels
