// SPDX-License-Identifier: Apache-2.0
// Attention of heads on a device that can compute it in more ways than one. Layers call attention_of_heads(); which way
// is taken for a shape is the matter of what set_attention_backends() was given (engine/attention_choice.hpp).
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

namespace t2v {

/// softmax(q k^T * scale + bias) v for q [B, N, Lq, D], k and v [B, N, Lk, D].
struct AttentionCall {
  const at::Tensor &q, &k, &v;
  const std::optional<at::Tensor>& bias;  // added to the logits, broadcastable to [B, N, Lq, Lk]
  bool is_causal = false;
  std::optional<double> scale = {};  // default: 1 / sqrt(D)
};

class AttentionBackends {
 public:
  virtual ~AttentionBackends() = default;
  virtual bool takes(c10::Device device) const = 0;
  /// [B, N, Lq, D]. May be called from any thread.
  virtual at::Tensor compute(const AttentionCall& call) = 0;
};

/// Must outlive its use; null: ATen chooses. Set before networks run, not beside them.
void set_attention_backends(AttentionBackends* backends);

/// By the backends that were set where they take the device, else as ATen chooses.
at::Tensor attention_of_heads(const AttentionCall& call);
at::Tensor attention_as_aten_chooses(const AttentionCall& call);

/// Whether backends may be timed in calls of this thread: only while the innermost of these says so, which is where
/// many more calls of the same shapes are to come and nothing is being recorded.
class AttentionTiming {
 public:
  explicit AttentionTiming(bool allowed) : before_(is_allowed_) { is_allowed_ = allowed; }
  ~AttentionTiming() { is_allowed_ = before_; }
  AttentionTiming(const AttentionTiming&) = delete;
  AttentionTiming& operator=(const AttentionTiming&) = delete;
  static bool is_allowed() { return is_allowed_; }

 private:
  static inline thread_local bool is_allowed_ = false;
  bool before_;
};

}  // namespace t2v
