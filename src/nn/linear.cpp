// SPDX-License-Identifier: Apache-2.0
#include "nn/linear.hpp"

#include <utility>

#include <ATen/ops/addmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>

#include "nn/feed_forward.hpp"
#include "nn/packed_convolution.hpp"
#include "tensor/op_profile.hpp"

namespace t2v::nn {

namespace {

/// Our kernel walks along twelve rows at once; rows that lie a multiple of 4 KiB apart would fight for one cache set.
bool rows_share_a_cache_set(int64_t in_features) { return in_features % 1024 == 0; }

bool packs(const Placement& placement, int64_t inputs) {
  return can_pack(placement) && !rows_share_a_cache_set(inputs);
}

/// What is packed is converted then.
Tensor take_weight(const Weights& w, int64_t inputs, int64_t outputs, bool will_pack) {
  return will_pack ? w.take_stored("weight", {outputs, inputs}) : w.take("weight", {outputs, inputs});
}

std::vector<int64_t> shape_of(const Tensor& x, int64_t width) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = width;
  return shape;
}

OpScope scope(const Linear& layer, const Tensor& x, bool reads_residual) {
  const int64_t rows = x.numel() / layer.in_features,
                width = layer.is_gated ? layer.out_features / 2 : layer.out_features;
  const int64_t elements = x.numel() + layer.in_features * layer.out_features + rows * width * (reads_residual ? 2 : 1);
  return {layer.is_gated ? "linear + GEGLU" : "linear", 2 * x.numel() * layer.out_features,
          elements * static_cast<int64_t>(x.element_size())};
}

}  // namespace

Linear::Linear(const Weights& w, int64_t inputs, int64_t outputs, bool has_bias)
    : weight(take_weight(w, inputs, outputs, packs(w.placement(), inputs))),
      in_features(inputs),
      out_features(outputs) {
  if (has_bias) bias = w.take("bias", {outputs});
  if (packs(w.placement(), inputs)) pack();
}

Linear Linear::fused(const std::vector<Weights>& parts, int64_t inputs, const std::vector<int64_t>& outputs,
                     bool has_bias) {
  const bool will_pack = packs(parts.front().placement(), inputs);
  std::vector<Tensor> weights, biases;
  for (size_t i = 0; i < parts.size(); ++i) {
    weights.push_back(take_weight(parts[i], inputs, outputs[i], will_pack));
    if (has_bias) biases.push_back(parts[i].take("bias", {outputs[i]}));
  }
  Linear layer;
  layer.weight = at::cat(weights, 0);
  layer.in_features = inputs;
  layer.out_features = layer.weight.size(0);
  if (has_bias) layer.bias = at::cat(biases, 0);
  if (will_pack) layer.pack();
  return layer;
}

Linear Linear::gated(const Weights& w, int64_t inputs, int64_t outputs) {
  const bool will_pack = packs(w.placement(), inputs) && can_pack_gated(w.placement(), outputs);
  Linear layer;
  layer.weight = take_weight(w, inputs, outputs, will_pack);
  layer.bias = w.take("bias", {outputs});
  layer.in_features = inputs;
  layer.out_features = outputs;
  layer.is_gated = true;
  if (will_pack) layer.pack();
  return layer;
}

void Linear::pack() {
  is_packed = !weight.is_meta();  // nothing is there to be packed
  if (is_packed) weight = pack_weight(weight, is_gated);
}

Tensor Linear::plain(const Tensor& x) const {
  const Tensor y = at::linear(x, weight, bias);
  return is_gated ? geglu(y) : y;
}

void Linear::run(const Tensor& x, const std::optional<Tensor>& residual, Tensor& out) const {
  const kernels::ConvolutionShape shape{.width = x.numel() / in_features,
                                        .channels = {in_features, 0},
                                        .out_width = x.numel() / in_features,
                                        .outputs = out_features};
  run_packed({.x = x.contiguous(), .weight = weight, .bias = bias, .residual = residual, .gated = is_gated}, shape,
             out);
}

Tensor Linear::forward(const Tensor& x) const {
  const OpScope op = scope(*this, x, false);
  if (x.is_meta()) return at::empty(shape_of(x, is_gated ? out_features / 2 : out_features), x.options());
  if (!is_packed) return plain(x);
  Tensor out = at::empty(shape_of(x, is_gated ? out_features / 2 : out_features), x.options());
  run(x, std::nullopt, out);
  return out;
}

Tensor Linear::forward_added(const Tensor& x, const Tensor& residual) const {
  if (x.is_meta() || !is_packed) return forward(x).add_(residual);
  const OpScope op = scope(*this, x, true);
  Tensor out = at::empty(residual.sizes(), x.options());
  run(x, residual.contiguous(), out);
  return out;
}

void Linear::accumulate(Tensor& sum, const Tensor& x) const {
  if (x.is_meta() || !sum.is_contiguous() || (!is_packed && bias)) {
    sum.add_(forward(x));
    return;
  }
  const OpScope op = scope(*this, x, true);
  if (is_packed) {
    run(x, sum, sum);
  } else {  // the product's own sums begin with what is there
    sum.view({-1, out_features}).addmm_(x.reshape({-1, in_features}), weight.t());
  }
}

Tensor Linear::release_bias() { return std::exchange(bias, std::nullopt).value().to(at::kFloat); }

void Linear::absorb(const Tensor& constant) {
  const Tensor row = constant.unsqueeze(0);
  const auto wide = [](const Tensor& x) { return x.to(at::kFloat); };
  const Tensor sum = is_packed ? forward(row) : at::linear(row, wide(weight), bias ? std::optional(wide(*bias)) : bias);
  bias = sum.squeeze(0).to(weight.scalar_type());
}

Tensor product(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
  const int64_t outputs = weight.size(0), elements = x.numel() + weight.numel() + x.numel() / x.size(-1) * outputs;
  const OpScope op("linear", 2 * x.numel() * outputs, elements * static_cast<int64_t>(x.element_size()));
  return at::linear(x, weight, bias);
}

}  // namespace t2v::nn
