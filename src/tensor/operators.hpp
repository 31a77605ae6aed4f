// SPDX-License-Identifier: Apache-2.0
// at::Tensor with its arithmetic operators (+ - * / and comparisons), without the whole of ATen.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
