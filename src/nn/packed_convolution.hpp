// SPDX-License-Identifier: Apache-2.0
// Convolutions and linear layers on the CPU with weights that were brought into our kernel's order at load; see
// nn/kernels/convolution.hpp. Everything here is fp32.
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

#include "nn/kernels/convolution.hpp"
#include "tensor/placement.hpp"

namespace t2v::nn {

/// Whether layers placed so compute with packed weights: fp32 on the CPU.
bool can_pack(const Placement& placement);
/// Whether hidden and gate, half of the outputs each, can be made side by side.
bool can_pack_gated(const Placement& placement, int64_t outputs);
/// Of [out, in] or [out, in, kh, kw] on the CPU, of any dtype: it is converted on the way, in pieces that fit a cache.
/// -> a one-dimensional tensor for run_packed() only.
at::Tensor pack_weight(const at::Tensor& weight, bool gated = false);

/// The four 2 x 2 kernels that together equal a 3 x 3 kernel on an input doubled by nearest neighbours: where two taps
/// see the same pixel, their weights are added. [out, in, 3, 3] -> [4, packed]
at::Tensor pack_doubled_weight(const at::Tensor& weight);

/// Whether a layer of packed weights is 3 x 3 and of a size that gets a second weight for run_winograd().
bool fits_winograd(const at::Tensor& weight);
/// Bytes of the second weights of the layers that this thread has built on meta tensors so far. Only differences mean
/// something.
inline thread_local int64_t counted_winograd_bytes = 0;
/// What the layers built since `before` would take for them where they are placed so.
int64_t winograd_bytes_since(int64_t before, const Placement& placement);
/// [out, in, 3, 3] -> a one-dimensional tensor for run_winograd() only.
at::Tensor pack_winograd_weight(const at::Tensor& weight);

struct PackedOperands {
  at::Tensor x;                             // dense, channels last
  std::optional<at::Tensor> beside = {};    // the second part of the channels, as if concatenated
  at::Tensor weight;                        // of pack_weight() or pack_winograd_weight()
  std::optional<at::Tensor> bias = {};      // [out], or [B, out]: a row for each of B equal parts of the rows
  std::optional<at::Tensor> residual = {};  // laid out as the output, which it may be
  bool gated = false;
};

/// Writes to `out`, dense with channels last.
void run_packed(const PackedOperands& operands, const kernels::ConvolutionShape& shape, at::Tensor& out);
/// The same with a quarter of the multiplications, where kernels::winograd_pays(); operands are not gated.
void run_winograd(const PackedOperands& operands, const kernels::ConvolutionShape& shape, at::Tensor& out);

}  // namespace t2v::nn
