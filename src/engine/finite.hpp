// SPDX-License-Identifier: Apache-2.0
// NaN and Inf are found where they arise, and once more computed around where the precision was to blame. A clamp would
// hide them as black frames.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>

#include <ATen/core/Tensor.h>

namespace t2v::engine {

/// Whether every element of all tensors is finite: one pass over each on its device, one number read back.
bool all_finite(std::initializer_list<at::Tensor> tensors);

/// Error{numbers} unless every element is finite. `stage` names the place for the message.
void require_finite(const at::Tensor& tensor, const std::string& stage);

/// What `compute` gives, checked. Where it is not finite and `use_fp32(true)` says that there is a better precision to
/// switch to, it is computed once more in that one, with a warning, and `use_fp32(false)` switches back. A result that
/// fits is returned in the dtype of the first try. Error{numbers} when the second try is no better either.
at::Tensor compute_finite(const std::string& stage, const std::function<at::Tensor()>& compute,
                          const std::function<bool(bool)>& use_fp32 = {});

/// For loops that retry by themselves: the warning of a retry, and the error after it.
void warn_of_retry(const std::string& stage, c10::ScalarType dtype);
[[noreturn]] void throw_not_finite(const std::string& stage, c10::ScalarType dtype, bool was_retried);

}  // namespace t2v::engine
