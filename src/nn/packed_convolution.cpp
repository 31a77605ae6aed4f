// SPDX-License-Identifier: Apache-2.0
#include "nn/packed_convolution.hpp"

#include <algorithm>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/stack.h>
#include <c10/core/InferenceMode.h>

#include "nn/kernels/winograd.hpp"
#include "tensor/operators.hpp"
#include "tensor/parallel.hpp"

namespace t2v::nn {

namespace {

constexpr int64_t kFlopsEach = 400'000;  // fewer are not worth a second thread

const float* data_of(const std::optional<at::Tensor>& x) { return x ? x->const_data_ptr<float>() : nullptr; }

at::Tensor with_taps_first(const at::Tensor& weight) {
  return weight.dim() == 4 ? weight.permute({0, 2, 3, 1}).contiguous() : weight.contiguous();
}

kernels::ConvolutionEnd end_of(const PackedOperands& operands, const kernels::ConvolutionShape& shape) {
  kernels::ConvolutionEnd end{
      .bias = data_of(operands.bias), .residual = data_of(operands.residual), .gated = operands.gated};
  if (operands.bias && operands.bias->dim() == 2) end.rows_per_bias = shape.rows() / operands.bias->size(0);
  return end;
}

std::array<const float*, 2> inputs_of(const PackedOperands& operands) {
  return {operands.x.const_data_ptr<float>(), data_of(operands.beside)};
}

/// How many tasks of this many FLOP are worth a thread.
int64_t grain_of(int64_t flops_each) { return std::max<int64_t>(1, kFlopsEach / std::max<int64_t>(1, flops_each)); }

}  // namespace

bool can_pack(const Placement& placement) { return placement.device.is_cpu() && placement.dtype == c10::kFloat; }

bool can_pack_gated(const Placement& placement, int64_t outputs) {
  return can_pack(placement) && outputs % (2 * kernels::vector_lanes()) == 0;
}

at::Tensor pack_weight(const at::Tensor& weight, bool gated) {
  const int64_t outputs = weight.size(0), channels = weight.size(1);
  const kernels::StoredShape shape{
      .outputs = outputs, .channels = channels, .taps = weight.numel() / (outputs * channels)};
  const at::Tensor rows = weight.contiguous().view({outputs, shape.depth()});
  const auto read = [&](int64_t first, int64_t count, float* to) {
    const c10::InferenceMode guard;  // a thread of the loop does not inherit the caller's
    at::from_blob(to, {count, shape.depth()}, at::kFloat).copy_(rows.narrow(0, first, count));
  };
  at::Tensor packed = at::empty({kernels::packed_size(outputs, shape.depth())}, weight.options().dtype(at::kFloat));
  kernels::pack(read, packed.mutable_data_ptr<float>(), shape, gated);
  return packed;
}

at::Tensor pack_doubled_weight(const at::Tensor& weight) {
  // Along one axis: even pixels see taps {0} and {1, 2}, odd ones {0, 1} and {2}.
  const auto folded = [](const at::Tensor& w, int64_t axis, bool odd) {
    const at::Tensor a = w.select(axis, 0), b = w.select(axis, 1), c = w.select(axis, 2);
    return odd ? at::stack({a + b, c}, axis) : at::stack({a, b + c}, axis);
  };
  const at::Tensor wide = weight.to(at::kFloat);
  std::vector<at::Tensor> kernels;
  for (int64_t parity = 0; parity < 4; ++parity) {
    kernels.push_back(pack_weight(folded(folded(wide, 2, parity / 2 == 1), 3, parity % 2 == 1)));
  }
  return at::stack(kernels);
}

bool fits_winograd(const at::Tensor& weight) {
  return weight.dim() == 4 && weight.size(2) == 3 && weight.size(3) == 3 &&
         kernels::winograd_fits(weight.size(1), weight.size(0));
}

int64_t winograd_bytes_since(int64_t before, const Placement& placement) {
  return can_pack(placement) ? counted_winograd_bytes - before : 0;
}

at::Tensor pack_winograd_weight(const at::Tensor& weight) {
  const int64_t outputs = weight.size(0), channels = weight.size(1);
  if (weight.is_meta()) counted_winograd_bytes += kernels::winograd_size(channels, outputs) * 4;
  at::Tensor packed = at::empty({kernels::winograd_size(channels, outputs)}, weight.options().dtype(at::kFloat));
  if (weight.is_meta()) return packed;
  kernels::winograd_pack(with_taps_first(weight.to(at::kFloat)).const_data_ptr<float>(),
                         packed.mutable_data_ptr<float>(), channels, outputs);
  return packed;
}

void run_packed(const PackedOperands& operands, const kernels::ConvolutionShape& shape, at::Tensor& out) {
  const kernels::ConvolutionEnd end = end_of(operands, shape);
  const auto tasks = kernels::convolution_tasks(shape);
  const auto x = inputs_of(operands);
  const float* weight = operands.weight.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  const int64_t flops = 2 * shape.rows() * shape.outputs * shape.depth();
  parallel_for(tasks.count(), grain_of(flops / tasks.count()), [&](int64_t first, int64_t last) {
    kernels::convolution_cpu(x, weight, to, shape, end, tasks, first, last);
  });
}

void run_winograd(const PackedOperands& operands, const kernels::ConvolutionShape& shape, at::Tensor& out) {
  const kernels::ConvolutionEnd end = end_of(operands, shape);
  const int64_t tasks = kernels::winograd_tasks(shape);
  const auto x = inputs_of(operands);
  const float* weight = operands.weight.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  const int64_t flops = 2 * shape.rows() * shape.outputs * shape.depth() / 4;
  parallel_for(tasks, grain_of(flops / tasks),
               [&](int64_t first, int64_t last) { kernels::winograd_cpu(x, weight, to, shape, end, first, last); });
}

}  // namespace t2v::nn
