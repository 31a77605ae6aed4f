// SPDX-License-Identifier: Apache-2.0
// 2-D convolution; weights are laid out at load: for our kernel on the CPU, channels-last elsewhere.
#pragma once

#include <array>
#include <optional>

#include <ATen/core/Tensor.h>

#include "tensor/weights.hpp"

namespace t2v::nn {

struct Conv2dOptions {
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> stride{1, 1};
  std::array<int64_t, 2> padding{0, 0};
  bool stored_as_3d = false;  // the file holds a 3-D kernel [out, in, kh, 1, 1]; kw is 1 then
  bool doubles = false;       // forward_doubled() is wanted; 3x3, padding 1
  bool has_bias = true;       // else the file holds none, and zeros stand for it
};

/// What is done together with a convolution where the hardware gains by it.
struct ConvExtras {
  std::optional<Tensor> beside = {};    // more channels of the input, as if concatenated
  std::optional<Tensor> shift = {};     // [B, C'], added to all pixels of the images of each of B videos
  std::optional<Tensor> residual = {};  // [N, C', H', W'], added
  bool leaves_bias = false;             // where it would take a pass over memory: with_bias() or add_to() then add it
};

struct Conv2d {
  Conv2d(const Weights& w, const Conv2dOptions& options);
  /// [N, C, H, W], channels-last or contiguous -> [N, C', H', W'], channels-last if the input is
  Tensor forward(const Tensor& x, const ConvExtras& extras = {}) const;
  /// sum += forward(x); sum is channels-last
  void accumulate(Tensor& sum, const Tensor& x) const;
  /// Of the input enlarged to twice its size by nearest neighbours.
  Tensor forward_doubled(const Tensor& x) const;

  /// sum += share * y, with the bias that y = forward(.., {.leaves_bias}) was left without; both channels-last
  void add_to(Tensor& sum, const Tensor& y, double share = 1.0) const;
  /// `shift` with the bias that was left, for a norm that adds shifts.
  std::optional<Tensor> with_bias(const std::optional<Tensor>& shift) const;
  /// Has `other`, the bias of a layer whose output is added to this one's, stand for both.
  void move_bias_to(Tensor& other);

  Tensor weight;  // [out, in, kh, kw], or packed
  Tensor bias;    // [out]; undefined where another layer has it
  Conv2dOptions options;
  bool is_packed;
  std::optional<Tensor> doubled_weight;   // packed
  std::optional<Tensor> winograd_weight;  // packed

 private:
  Tensor plain(const Tensor& x, const ConvExtras& extras) const;
  void run(const Tensor& x, const ConvExtras& extras, Tensor& out) const;
};

}  // namespace t2v::nn
