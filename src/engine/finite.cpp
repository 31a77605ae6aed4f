// SPDX-License-Identifier: Apache-2.0
#include "engine/finite.hpp"

#include <ATen/ops/aminmax.h>

#include "core/log.hpp"
#include "engine/device.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::engine {

bool all_finite(std::initializer_list<at::Tensor> tensors) {
  at::Tensor sum;  // 0, or NaN when an extreme of a tensor is NaN or Inf: times 0 both become NaN
  for (const at::Tensor& tensor : tensors) {
    if (tensor.numel() == 0) continue;
    const auto [low, high] = at::aminmax(tensor.detach());
    const at::Tensor flag = (low * 0 + high * 0).to(c10::kFloat);
    sum = sum.defined() ? sum + flag : flag;
  }
  return !sum.defined() || sum.item<float>() == 0.0F;
}

void throw_not_finite(const std::string& stage, c10::ScalarType dtype, bool was_retried) {
  throw Error(ErrorCode::numbers,
              "numbers went wrong: " + stage + ": wanted finite values, got NaN or Inf in " + dtype_name(dtype) +
                  (was_retried ? " and again in fp32" : ""),
              dtype == c10::kFloat || was_retried ? "check the checkpoint, the sampler and --cfg-scale"
                                                  : "try --dtype bf16 or --dtype fp32");
}

void warn_of_retry(const std::string& stage, c10::ScalarType dtype) {
  log::warn("{}: {} can not hold its numbers; computed again in fp32 (--dtype fp32 or bf16 avoids this)", stage,
            dtype_name(dtype));
}

void require_finite(const at::Tensor& tensor, const std::string& stage) {
  if (!all_finite({tensor})) throw_not_finite(stage, tensor.scalar_type(), false);
}

namespace {

/// `tensor` in a smaller dtype where all its values are finite there too, else as it is.
at::Tensor narrowed(const at::Tensor& tensor, c10::ScalarType dtype) {
  if (tensor.scalar_type() == dtype) return tensor;
  const at::Tensor small = tensor.to(dtype);
  return all_finite({small}) ? small : tensor;
}

}  // namespace

at::Tensor compute_finite(const std::string& stage, const std::function<at::Tensor()>& compute,
                          const std::function<bool(bool)>& use_fp32) {
  const at::Tensor first = compute();
  if (all_finite({first})) return first;
  const c10::ScalarType dtype = first.scalar_type();
  if (!use_fp32 || !use_fp32(true)) throw_not_finite(stage, dtype, false);
  warn_of_retry(stage, dtype);
  const at::Tensor second = compute();
  use_fp32(false);
  if (!all_finite({second})) throw_not_finite(stage, dtype, true);
  return narrowed(second, dtype);
}

}  // namespace t2v::engine
