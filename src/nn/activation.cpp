// SPDX-License-Identifier: Apache-2.0
#include "nn/activation.hpp"

#include <array>
#include <string>
#include <vector>

#include <ATen/ops/clamp_min.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/mish.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>

#include "core/text.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::nn {

namespace {

at::Tensor gelu_erf(const at::Tensor& x) { return at::gelu(x); }
at::Tensor gelu_tanh(const at::Tensor& x) { return at::gelu(x, "tanh"); }
/// The GELU of OpenAI's CLIP (transformers QuickGELUActivation).
at::Tensor quick_gelu(const at::Tensor& x) { return x * at::sigmoid(x * 1.702); }
/// at::relu has no shape rule outside Python, which meta tensors need.
at::Tensor relu(const at::Tensor& x) { return at::clamp_min(x, 0.0); }

struct Row {
  std::string_view name;
  Activation function;
};

constexpr std::array kActivations{
    Row{"silu", at::silu},         Row{"swish", at::silu},     Row{"mish", at::mish},
    Row{"gelu", gelu_erf},         Row{"gelu_new", gelu_tanh}, Row{"gelu_pytorch_tanh", gelu_tanh},
    Row{"quick_gelu", quick_gelu}, Row{"relu", relu},
};

}  // namespace

Activation activation(std::string_view name, std::string_view where) {
  std::vector<std::string> known;
  for (const auto& row : kActivations) {
    if (row.name == name) return row.function;
    known.emplace_back(row.name);
  }
  throw Error(ErrorCode::unsupported, "unsupported activation: " + std::string(where) + ": '" + std::string(name) + "'",
              did_you_mean(name, known));
}

}  // namespace t2v::nn
