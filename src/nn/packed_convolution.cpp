// SPDX-License-Identifier: Apache-2.0
#include "nn/packed_convolution.hpp"

#include <algorithm>

#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include "nn/parallel.hpp"
#include "tensor/operators.hpp"

namespace t2v::nn {

namespace {

constexpr int64_t kFlopsEach = 400'000;  // fewer are not worth a second thread

const float* data_of(const std::optional<at::Tensor>& x) { return x ? x->const_data_ptr<float>() : nullptr; }

}  // namespace

bool can_pack(const at::Tensor& weight) { return weight.is_cpu() && weight.scalar_type() == at::kFloat; }

bool can_pack_gated(const at::Tensor& weight) {
  return can_pack(weight) && weight.size(0) % (2 * kernels::vector_lanes()) == 0;
}

at::Tensor pack_weight(const at::Tensor& weight, bool gated) {
  const at::Tensor taps_first = weight.dim() == 4 ? weight.permute({0, 2, 3, 1}).contiguous() : weight.contiguous();
  const int64_t outputs = weight.size(0), depth = weight.numel() / outputs;
  at::Tensor packed = at::empty({kernels::packed_size(outputs, depth)}, weight.options());
  kernels::pack(taps_first.const_data_ptr<float>(), packed.mutable_data_ptr<float>(), outputs, depth, gated);
  return packed;
}

at::Tensor pack_doubled_weight(const at::Tensor& weight) {
  // Along one axis: even pixels see taps {0} and {1, 2}, odd ones {0, 1} and {2}.
  const auto folded = [](const at::Tensor& w, int64_t axis, bool odd) {
    const at::Tensor a = w.select(axis, 0), b = w.select(axis, 1), c = w.select(axis, 2);
    return odd ? at::stack({a + b, c}, axis) : at::stack({a, b + c}, axis);
  };
  std::vector<at::Tensor> kernels;
  for (int64_t parity = 0; parity < 4; ++parity) {
    kernels.push_back(pack_weight(folded(folded(weight, 2, parity / 2 == 1), 3, parity % 2 == 1)));
  }
  return at::stack(kernels);
}

void run_packed(const PackedOperands& operands, const kernels::ConvolutionShape& shape, at::Tensor& out) {
  kernels::ConvolutionEnd end{.bias = data_of(operands.bias),
                              .residual = data_of(operands.residual),
                              .gated = operands.gated};
  if (operands.bias && operands.bias->dim() == 2) end.rows_per_bias = shape.rows() / operands.bias->size(0);
  const auto tasks = kernels::convolution_tasks(shape);
  const std::array<const float*, 2> x{operands.x.const_data_ptr<float>(), data_of(operands.beside)};
  const float* weight = operands.weight.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  const int64_t flops_each = 2 * shape.rows() * shape.outputs * shape.depth() / tasks.count();
  const int64_t grain = std::max<int64_t>(1, kFlopsEach / std::max<int64_t>(1, flops_each));
  parallel_for(tasks.count(), grain, [&](int64_t first, int64_t last) {
    kernels::convolution_cpu(x, weight, to, shape, end, tasks, first, last);
  });
}

}  // namespace t2v::nn
