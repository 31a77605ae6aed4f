// SPDX-License-Identifier: Apache-2.0
#include "nn/conv.hpp"

#include <vector>

#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>

#include "nn/packed_convolution.hpp"
#include "tensor/flops.hpp"

namespace t2v::nn {

namespace {

Tensor take_kernel(const Weights& w, const Conv2dOptions& o) {
  const std::vector<int64_t> shape{o.out_channels, o.in_channels, o.kernel[0], o.kernel[1]};
  if (!o.stored_as_3d) {
    return w.take("weight", shape);
  }
  return w.take("weight", {shape[0], shape[1], shape[2], 1, 1}).reshape(shape);
}

/// libtorch's convolution knows no meta tensors outside Python; the memory probe needs the shape.
Tensor meta_output(const Tensor& x, const Conv2dOptions& o) {
  const auto side = [&](size_t axis) {
    const int64_t size = x.size(static_cast<int64_t>(axis) + 2) + 2 * o.padding[axis] - o.kernel[axis];
    return size / o.stride[axis] + 1;
  };
  const Tensor out =
      at::empty({x.size(0), o.out_channels, side(0), side(1)}, x.options(), at::MemoryFormat::ChannelsLast);
  counted_flops += 2 * out.numel() * o.in_channels * o.kernel[0] * o.kernel[1];
  return out;
}

}  // namespace

Conv2d::Conv2d(const Weights& w, const Conv2dOptions& o)
    : weight(take_kernel(w, o)),
      bias(w.take("bias", {o.out_channels})),
      options(o),
      is_packed(can_pack(weight)) {
  weight = is_packed ? pack_weight(weight, o) : weight.contiguous(at::MemoryFormat::ChannelsLast);
}

Tensor Conv2d::forward(const Tensor& x) const {
  if (x.is_meta()) {
    return meta_output(x, options);
  }
  if (is_packed) {
    return packed_convolution(x, weight, bias, options);
  }
  return at::conv2d(x, weight, bias, options.stride, options.padding);
}

}  // namespace t2v::nn
