// SPDX-License-Identifier: Apache-2.0
#include "nn/embedding.hpp"

#include <ATen/ops/embedding.h>

namespace t2v::nn {

Embedding::Embedding(const Weights& w, int64_t count, int64_t width) : weight(w.take("weight", {count, width})) {}

Tensor Embedding::forward(const Tensor& ids) const { return at::embedding(weight, ids); }

}  // namespace t2v::nn
