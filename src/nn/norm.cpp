// SPDX-License-Identifier: Apache-2.0
#include "nn/norm.hpp"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>

#include "tensor/operators.hpp"

namespace t2v::nn {

LayerNorm::LayerNorm(const Weights& w, int64_t width, double epsilon)
    : weight(w.take("weight", {width})), bias(w.take("bias", {width})), eps(epsilon) {}

Tensor LayerNorm::forward(const Tensor& x) const {
  if (x.is_meta()) {
    return at::empty_like(x);  // libtorch has the shape rules of norms in Python only
  }
  if (x.is_meta()) {  // libtorch's norms know no meta tensors outside Python; the memory probe needs the shape
    return at::empty_like(x);
  }
  return at::layer_norm(x, {weight.size(0)}, weight, bias, eps);
}

RmsNorm::RmsNorm(const Weights& w, int64_t width, double epsilon)
    : weight(w.take("weight", {width})), eps(epsilon) {}

Tensor RmsNorm::forward(const Tensor& x) const {
  const Tensor wide = x.to(c10::kFloat);
  const Tensor variance = (wide * wide).mean(-1, /*keepdim=*/true);
  return weight * (wide * at::rsqrt(variance + eps)).to(weight.scalar_type());
}

GroupNorm::GroupNorm(const Weights& w, int64_t group_count, int64_t channels, double epsilon)
    : weight(w.take("weight", {channels})),
      bias(w.take("bias", {channels})),
      groups(group_count),
      eps(epsilon) {}

Tensor GroupNorm::forward(const Tensor& x) const {
  if (x.is_meta()) {
    return at::empty_like(x);
  }
  if (x.is_meta()) {
    return at::empty_like(x);
  }
  return at::group_norm(x, groups, weight, bias, eps);
}

Tensor GroupNorm::forward_silu(const Tensor& x) const {
  Tensor out = forward(x);
  return at::silu_(out);
}

Tensor GroupNorm::forward_activated(const Tensor& x, Activation activation) const {
  return activation == static_cast<Activation>(at::silu) ? forward_silu(x) : activation(forward(x));
}

}  // namespace t2v::nn
