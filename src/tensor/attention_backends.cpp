// SPDX-License-Identifier: Apache-2.0
#include "tensor/attention_backends.hpp"

#include <atomic>

#include <ATen/ops/scaled_dot_product_attention.h>

namespace t2v {

namespace {
std::atomic<AttentionBackends*> current{nullptr};
}

void set_attention_backends(AttentionBackends* backends) { current.store(backends, std::memory_order_release); }

at::Tensor attention_as_aten_chooses(const AttentionCall& call) {
  return at::scaled_dot_product_attention(call.q, call.k, call.v, call.bias, /*dropout_p=*/0.0, call.is_causal,
                                          call.scale);
}

at::Tensor attention_of_heads(const AttentionCall& call) {
  AttentionBackends* backends = current.load(std::memory_order_acquire);
  if (backends != nullptr && backends->takes(call.q.device())) return backends->compute(call);
  return attention_as_aten_chooses(call);
}

}  // namespace t2v
