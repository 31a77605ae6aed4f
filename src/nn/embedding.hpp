// SPDX-License-Identifier: Apache-2.0
// Lookup table of vectors.
#pragma once

#include <ATen/core/Tensor.h>

#include "tensor/weights.hpp"

namespace t2v::nn {

struct Embedding {
  Embedding(const Weights& w, int64_t count, int64_t width);
  Tensor forward(const Tensor& ids) const;  // [...] int64, each < count -> [..., width]

  Tensor weight;  // [count, width]
};

}  // namespace t2v::nn
