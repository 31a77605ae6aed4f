// SPDX-License-Identifier: Apache-2.0
// Layer normalisation of rows (Ba et al. 2016, arXiv 1607.06450). fp32 on the CPU.
#pragma once

#include <cstdint>

namespace t2v::nn::kernels {

/// x [rows, width] -> out, which may be x. Plain loops in double; the meaning of the fast form.
void layer_norm_reference(const float* x, const float* weight, const float* bias, float* out, int64_t rows,
                          int64_t width, double eps);

/// The same with the widest vectors this CPU has.
void layer_norm_cpu(const float* x, const float* weight, const float* bias, float* out, int64_t rows, int64_t width,
                    double eps);

}  // namespace t2v::nn::kernels
