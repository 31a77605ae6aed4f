// SPDX-License-Identifier: Apache-2.0
// Position-wise feed-forward network. diffusers 0.42 models/attention.py FeedForward and its activations.py.
#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>

#include "nn/linear.hpp"
#include "tensor/weights.hpp"

namespace t2v::nn {

enum class FeedForwardKind {
  geglu,              // a * gelu(b), exact (erf) GELU; Shazeer 2020, arXiv 2002.05202
  gelu,               // gelu(a), exact
  gelu_approximate,   // gelu(a), tanh form
  geglu_approximate,  // a * sigmoid(1.702 a): not gated in spite of its name
};

/// The diffusers spelling ("gelu-approximate"); else Error{unsupported} naming `where`.
FeedForwardKind feed_forward_kind(std::string_view name, std::string_view where);

/// [..., 2 * width], hidden before gate -> [..., width]: hidden * gelu(gate).
Tensor geglu(const Tensor& x);

struct FeedForwardOptions {
  int64_t width = 0;
  int64_t mult = 4;
  FeedForwardKind kind = FeedForwardKind::geglu;
};

struct FeedForward {
  FeedForward(const Weights& w, const FeedForwardOptions& options);
  Tensor forward(const Tensor& x) const;                // [..., width]
  void accumulate(Tensor& sum, const Tensor& x) const;  // sum += forward(x)

  FeedForwardKind kind;
  Linear project_in;   // net.0.proj
  Linear project_out;  // net.2

 private:
  Tensor hidden(const Tensor& x) const;
};

}  // namespace t2v::nn
