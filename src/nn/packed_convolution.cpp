// SPDX-License-Identifier: Apache-2.0
#include "nn/packed_convolution.hpp"

#include <optional>
#include <string_view>

#include <ATen/Context.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/mkldnn_reorder_conv2d_weight.h>

namespace t2v::nn {

namespace {

constexpr int64_t kMinElements = 1 << 17;  // below, packing in every call costs nothing that can be measured

using Scalars = c10::List<std::optional<at::Scalar>>;
using Pointwise = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, at::IntArrayRef, at::IntArrayRef,
                         at::IntArrayRef, int64_t, std::string_view, Scalars, std::optional<std::string_view>);

/// The operator that torch.compile emits for packed weights. It has no C++ header (aten/src/ATen/native/mkldnn/Conv.cpp).
const std::optional<c10::OperatorHandle>& pointwise_schema() {
  static const auto schema = c10::Dispatcher::singleton().findSchema({"mkldnn::_convolution_pointwise", ""});
  return schema;
}

}  // namespace

bool can_pack(const Tensor& weight) {
  return weight.is_cpu() && weight.scalar_type() == at::kFloat && weight.numel() >= kMinElements &&
         at::globalContext().userEnabledMkldnn() && at::Context::hasMKLDNN() && pointwise_schema().has_value();
}

Tensor pack_weight(const Tensor& weight, const Conv2dOptions& o) {
  return at::mkldnn_reorder_conv2d_weight(weight.contiguous().to_mkldnn(), o.padding, o.stride);
}

Tensor packed_convolution(const Tensor& x, const Tensor& packed_weight, const Tensor& bias, const Conv2dOptions& o) {
  static const auto op = pointwise_schema()->typed<Pointwise>();
  return op.call(x, packed_weight, bias, o.padding, o.stride, /*dilation=*/{1, 1}, /*groups=*/1, "none", Scalars(),
                 std::nullopt);
}

}  // namespace t2v::nn
