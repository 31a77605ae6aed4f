// SPDX-License-Identifier: Apache-2.0
// Noise, drawn as diffusers draws it: one generator a run, seeded once, asked in the pipeline's order.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

namespace t2v {

/// torch.Generator(device).manual_seed(seed). With a CPU generator the bits equal PyTorch's for the same shape, order
/// and dtype, whatever device computes.
class Rng {
 public:
  Rng(uint64_t seed, c10::Device generator_device);
  /// Standard normal noise [shape], drawn on the generator's device in `dtype`, then moved to `device`.
  at::Tensor normal(at::IntArrayRef shape, c10::ScalarType dtype, c10::Device device);
  /// While it lives, noise is drawn in `dtype` whatever normal() is asked for, and converted: a run whose state is
  /// wider than its network draws the numbers of one that computes in the network's dtype throughout.
  class DrawnIn {
   public:
    DrawnIn(Rng& rng, c10::ScalarType dtype) : rng_(rng) { rng_.drawn_in_ = dtype; }
    ~DrawnIn() { rng_.drawn_in_.reset(); }
    DrawnIn(const DrawnIn&) = delete;
    DrawnIn& operator=(const DrawnIn&) = delete;

   private:
    Rng& rng_;
  };
  /// While it lives, normal() answers with source(shape), converted, and the generator stays where it is: what a method
  /// does with its noise can then be found out.
  class DrawnFrom {
   public:
    using Source = std::function<at::Tensor(at::IntArrayRef shape)>;
    DrawnFrom(Rng& rng, Source source) : rng_(rng) { rng_.source_ = std::move(source); }
    ~DrawnFrom() { rng_.source_ = nullptr; }
    DrawnFrom(const DrawnFrom&) = delete;
    DrawnFrom& operator=(const DrawnFrom&) = delete;

   private:
    Rng& rng_;
  };
  at::Tensor normal_like(const at::Tensor& like) { return normal(like.sizes(), like.scalar_type(), like.device()); }
  /// torch.randperm(n, generator=...): int64 [n], on the generator's device.
  at::Tensor permutation(int64_t n);

  at::Tensor state() const;  ///< uint8, for resumable checkpoints
  void set_state(const at::Tensor& state);

 private:
  at::Generator generator_;
  std::optional<c10::ScalarType> drawn_in_;
  DrawnFrom::Source source_;
};

}  // namespace t2v
