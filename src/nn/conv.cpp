// SPDX-License-Identifier: Apache-2.0
#include "nn/conv.hpp"

#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <ATen/ops/zeros.h>
#include <c10/util/accumulate.h>

#include "nn/kernels/winograd.hpp"
#include "nn/packed_convolution.hpp"
#include "tensor/device_kernels.hpp"
#include "tensor/op_profile.hpp"
#include "tensor/operators.hpp"

namespace t2v::nn {

namespace {

constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;

Tensor take_kernel(const Weights& w, const Conv2dOptions& o) {
  const std::vector<int64_t> shape{o.out_channels, o.in_channels, o.kernel[0], o.kernel[1]};
  std::vector<int64_t> stored = shape;
  if (o.stored_as_3d) stored.push_back(1);
  return (can_pack(w.placement()) ? w.take_stored("weight", stored) : w.take("weight", stored)).reshape(shape);
}

std::array<int64_t, 4> output_shape(const Tensor& x, const Conv2dOptions& o) {
  const auto side = [&](size_t axis) {
    const int64_t size = x.size(static_cast<int64_t>(axis) + 2) + 2 * o.padding[axis] - o.kernel[axis];
    return size / o.stride[axis] + 1;
  };
  return {x.size(0), o.out_channels, side(0), side(1)};
}

Tensor empty_output(const Tensor& x, const Conv2dOptions& o) {
  return at::empty(output_shape(x, o), x.options(), kChannelsLast);
}

/// `outputs`: numbers that come out.
int64_t flops_of(int64_t outputs, const Conv2dOptions& o) {
  return 2 * outputs * o.in_channels * o.kernel[0] * o.kernel[1];
}

OpScope scope(const Conv2dOptions& o, const Tensor& x, int64_t outputs, bool doubled = false) {
  const char* name = doubled            ? "upsample + conv 3x3"
                     : o.stored_as_3d   ? "temporal conv"
                     : o.kernel[0] == 1 ? "conv 1x1"
                     : o.stride[0] != 1 ? "conv 3x3, stride 2"
                                        : "conv 3x3";
  const int64_t weights = o.in_channels * o.out_channels * o.kernel[0] * o.kernel[1];
  return {name, flops_of(outputs, o), (x.numel() + weights + outputs) * static_cast<int64_t>(x.element_size())};
}

kernels::ConvolutionShape shape_of(const Tensor& x, const Tensor& out, const Conv2dOptions& o) {
  const int64_t beside = o.in_channels - x.size(1);
  return {.images = x.size(0),
          .height = x.size(2),
          .width = x.size(3),
          .channels = {x.size(1), beside},
          .kernel = o.kernel,
          .stride = o.stride,
          .padding = o.padding,
          .out_height = out.size(2),
          .out_width = out.size(3),
          .outputs = o.out_channels};
}

/// sum += share * (x + bias). A device does it in one pass over memory; cuDNN adds a bias in a pass of its own.
void add_biased(Tensor& sum, const Tensor& x, const Tensor& bias, double share) {
  if (const auto* device = device_kernels_for(sum)) {
    if (bias.defined() && device->add_biased(sum, x, bias, share)) return;
  }
  sum.add_(x, share);
  if (bias.defined()) sum.add_(bias.view({1, -1, 1, 1}), share);
}

std::optional<Tensor> laid_out(const std::optional<Tensor>& x) {
  return x ? std::optional(x->contiguous(kChannelsLast)) : std::nullopt;
}

}  // namespace

Conv2d::Conv2d(const Weights& w, const Conv2dOptions& o)
    : weight(take_kernel(w, o)),
      bias(o.has_bias ? w.take("bias", {o.out_channels})
                      : at::zeros({o.out_channels}, weight.options().dtype(w.placement().dtype))),
      options(o),
      is_packed(can_pack(w.placement()) && !weight.is_meta()) {
  if (!o.has_bias && !is_packed) bias = Tensor();
  const bool may_pack = is_packed || weight.is_meta();  // the plan counts what the run will hold
  if (is_packed && o.doubles) {
    doubled_weight = pack_doubled_weight(weight);
  } else if (o.stride == std::array<int64_t, 2>{1, 1} && o.padding == o.stride && may_pack && fits_winograd(weight)) {
    winograd_weight = pack_winograd_weight(weight);
  }
  weight = is_packed ? pack_weight(weight) : weight.contiguous(kChannelsLast);
}

void Conv2d::move_bias_to(Tensor& other) {
  if (is_packed) return;  // adds it for nothing
  other = other + bias;
  bias = Tensor();
}

std::optional<Tensor> Conv2d::with_bias(const std::optional<Tensor>& shift) const {
  if (is_packed || !bias.defined()) return shift;
  return shift ? *shift + bias : bias.unsqueeze(0);
}

void Conv2d::add_to(Tensor& sum, const Tensor& y, double share) const {
  add_biased(sum, y, is_packed ? Tensor() : bias, share);
}

Tensor Conv2d::plain(const Tensor& x, const ConvExtras& extras) const {
  Tensor out;
  if (x.is_meta()) {  // libtorch's convolution knows no meta tensors outside Python; the memory probe needs the shape
    out = empty_output(x, options);
  } else {
    const bool adds_bias = bias.defined() && !extras.leaves_bias && !extras.residual;
    out = at::conv2d(extras.beside ? at::cat({x, *extras.beside}, 1) : x, weight,
                     adds_bias ? std::optional(bias) : std::nullopt, options.stride, options.padding);
  }
  if (extras.shift) {
    const Tensor& shift = *extras.shift;
    out.unflatten(0, {shift.size(0), -1}).add_(shift.view({shift.size(0), 1, shift.size(1), 1, 1}));
  }
  if (extras.residual) add_biased(out, *extras.residual, bias, 1.0);
  return out;
}

void Conv2d::run(const Tensor& x, const ConvExtras& extras, Tensor& out) const {
  const kernels::ConvolutionShape shape = shape_of(x, out, options);
  const bool by_tiles = winograd_weight && kernels::winograd_pays(shape);
  const PackedOperands operands{.x = x.contiguous(kChannelsLast),
                                .beside = laid_out(extras.beside),
                                .weight = by_tiles ? *winograd_weight : weight,
                                .bias = extras.shift ? *extras.shift + bias : bias,
                                .residual = laid_out(extras.residual)};
  by_tiles ? run_winograd(operands, shape, out) : run_packed(operands, shape, out);
}

Tensor Conv2d::forward(const Tensor& x, const ConvExtras& extras) const {
  if (!is_packed || x.is_meta()) {
    const OpScope op = scope(options, x, c10::multiply_integers(output_shape(x, options)));
    return plain(x, extras);
  }
  Tensor out = empty_output(x, options);
  const OpScope op = scope(options, x, out.numel());
  run(x, extras, out);
  return out;
}

void Conv2d::accumulate(Tensor& sum, const Tensor& x) const {
  if (!is_packed || x.is_meta() || !sum.is_contiguous(kChannelsLast)) {
    add_to(sum, forward(x, {.leaves_bias = true}));
    return;
  }
  const OpScope op = scope(options, x, sum.numel());
  run(x, {.residual = sum}, sum);
}

Tensor Conv2d::forward_doubled(const Tensor& x) const {
  if (!doubled_weight || x.is_meta()) {
    return forward(at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}));
  }
  Tensor out = at::empty({x.size(0), options.out_channels, 2 * x.size(2), 2 * x.size(3)}, x.options(), kChannelsLast);
  const OpScope op = scope(options, x, out.numel(), /*doubled=*/true);
  kernels::ConvolutionShape shape = shape_of(x, x, options);
  shape.kernel = {2, 2};
  for (shape.parity = 0; shape.parity < 4; ++shape.parity) {
    run_packed({.x = x.contiguous(kChannelsLast), .weight = doubled_weight->select(0, shape.parity), .bias = bias},
               shape, out);
  }
  return out;
}

}  // namespace t2v::nn
