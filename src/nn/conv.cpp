// SPDX-License-Identifier: Apache-2.0
#include "nn/conv.hpp"

#include <ATen/ops/conv2d.h>

namespace t2v::nn {

Conv2d::Conv2d(const Weights& w, const Conv2dOptions& o)
    : weight(w.take("weight", {o.out_channels, o.in_channels, o.kernel[0], o.kernel[1]})
                 .contiguous(at::MemoryFormat::ChannelsLast)),
      bias(w.take("bias", {o.out_channels})),
      options(o) {}

Tensor Conv2d::forward(const Tensor& x) const {
  return at::conv2d(x, weight, bias, options.stride, options.padding);
}

}  // namespace t2v::nn
