// SPDX-License-Identifier: Apache-2.0
// Keys and values of the text that every network call of a clip attends to: each layer makes them in the first call and
// finds them in the others. One call of a run sets a scope around the network; layers ask without knowing whose run it
// is.
#pragma once

#include <map>
#include <optional>

#include <ATen/core/Tensor.h>

namespace t2v::nn {

class ContextKeys {
 public:
  /// While it lives, this thread's cross-attention keeps what it makes of `context`, the very tensor: a layer that
  /// attends to another one in between makes its own. What a recording of the call found here it reads from here in
  /// every replay: then `keys` must live, and keep this context, as long as the recording.
  class Scope {
   public:
    Scope(ContextKeys& keys, const at::Tensor& context) : outer_(current()) {
      if (!keys.context_ || !keys.context_->is_same(context)) {
        keys.made_.clear();
        keys.context_ = context;
      }
      current() = &keys;
    }
    ~Scope() { current() = outer_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    ContextKeys* outer_;
  };

  /// What `make()` gives for `layer` and `context`.
  template <class Make>
  static at::Tensor of(const void* layer, const at::Tensor& context, const Make& make) {
    ContextKeys* keys = current();
    if (!keys || !keys->context_->is_same(context)) return make();
    at::Tensor& made = keys->made_[layer];
    if (!made.defined()) made = make();
    return made;
  }

 private:
  static ContextKeys*& current() {
    static thread_local ContextKeys* keys = nullptr;
    return keys;
  }

  std::optional<at::Tensor> context_;  // held, so that no other tensor can take its place
  std::map<const void*, at::Tensor> made_;
};

}  // namespace t2v::nn
