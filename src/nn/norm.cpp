// SPDX-License-Identifier: Apache-2.0
#include "nn/norm.hpp"

#include <algorithm>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>

#include "nn/kernels/group_norm.hpp"
#include "nn/kernels/layer_norm.hpp"
#include "tensor/device_kernels.hpp"
#include "tensor/op_profile.hpp"
#include "tensor/operators.hpp"
#include "tensor/parallel.hpp"

namespace t2v::nn {

namespace {

constexpr int64_t kParallelElements = 16384;  // fewer are not worth a second thread

bool has_kernel(const Tensor& x, const Tensor& weight) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat && weight.is_contiguous();
}

int64_t bytes_of(const Tensor& x) { return 2 * x.numel() * static_cast<int64_t>(x.element_size()); }

/// Few images: all threads take part in each. Many: an image stays in one core's cache between its two passes.
void run_kernel(const kernels::GroupNormData& data, const kernels::GroupNormShape& s) {
  const int64_t all = s.all_channels(), chunks = kernels::norm_chunks(s);
  const auto affine_of = [&](int64_t image, const std::vector<float>& sums) {
    std::vector<float> affine(static_cast<size_t>(2 * all));
    kernels::group_norm_affine(data, s, image, sums.data(), affine.data());
    return affine;
  };
  const int64_t chunk_grain = std::max<int64_t>(1, kParallelElements / (all * kernels::kNormChunk));
  if (s.images >= 2 * thread_count() || s.images % thread_count() == 0) {
    parallel_for(s.images, std::max<int64_t>(1, chunk_grain / chunks), [&](int64_t first, int64_t last) {
      std::vector<float> sums(static_cast<size_t>(chunks * 2 * all));
      for (int64_t image = first; image < last; ++image) {
        for (int64_t i = 0; i < chunks; ++i)
          kernels::group_norm_sums(data, s, image, i, &sums[static_cast<size_t>(i * 2 * all)]);
        const auto affine = affine_of(image, sums);
        for (int64_t i = 0; i < chunks; ++i) kernels::group_norm_apply(data, s, image, i, affine.data());
      }
    });
    return;
  }
  std::vector<float> sums(static_cast<size_t>(chunks * 2 * all));
  for (int64_t image = 0; image < s.images; ++image) {
    parallel_for(chunks, chunk_grain, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i)
        kernels::group_norm_sums(data, s, image, i, &sums[static_cast<size_t>(i * 2 * all)]);
    });
    const auto affine = affine_of(image, sums);
    parallel_for(chunks, chunk_grain, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) kernels::group_norm_apply(data, s, image, i, affine.data());
    });
  }
}

}  // namespace

LayerNorm::LayerNorm(const Weights& w, int64_t width, double epsilon)
    : weight(w.take("weight", {width})), bias(w.take("bias", {width})), eps(epsilon) {}

bool LayerNorm::adds_first_for_nothing() const {
  return weight.is_cuda() || device_kernels_for(weight);  // the latter also where a test emulates a device
}

void LayerNorm::add_first(const Tensor& constant) { offset = constant.to(weight.scalar_type()); }

Tensor LayerNorm::forward(const Tensor& x, const std::optional<Tensor>& positions) const {
  const OpScope op("layer norm", 0, bytes_of(x));
  if (x.is_meta()) {
    return at::empty_like(x);  // libtorch has the shape rules of norms in Python only
  }
  if (const auto* device = device_kernels_for(x)) {
    if (const auto out = device->layer_norm(x, {weight, bias, eps, offset, positions})) return *out;
  }
  Tensor out = normalised(offset ? x + *offset : x);
  return positions ? out.add_(*positions) : out;
}

Tensor LayerNorm::normalised(const Tensor& x) const {
  if (!has_kernel(x, weight) || !bias.is_contiguous() || !x.is_contiguous()) {
    return at::layer_norm(x, {weight.size(0)}, weight, bias, eps);
  }
  Tensor out = at::empty_like(x);
  const int64_t width = weight.size(0);
  const float *from = x.const_data_ptr<float>(), *scale = weight.const_data_ptr<float>(),
              *shift = bias.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  parallel_for(x.numel() / width, std::max<int64_t>(1, kParallelElements / width), [&](int64_t first, int64_t last) {
    kernels::layer_norm_cpu(from + first * width, scale, shift, to + first * width, last - first, width, eps);
  });
  return out;
}

RmsNorm::RmsNorm(const Weights& w, int64_t width, double epsilon) : weight(w.take("weight", {width})), eps(epsilon) {}

Tensor RmsNorm::forward(const Tensor& x) const {
  const Tensor wide = x.to(c10::kFloat);
  const Tensor variance = (wide * wide).mean(-1, /*keepdim=*/true);
  return weight * (wide * at::rsqrt(variance + eps)).to(weight.scalar_type());
}

GroupNorm::GroupNorm(const Weights& w, int64_t group_count, int64_t channels, double epsilon)
    : weight(w.take("weight", {channels})), bias(w.take("bias", {channels})), groups(group_count), eps(epsilon) {}

bool norm_adds_shift(const Tensor& x) { return device_kernels_for(x) != nullptr; }

Tensor GroupNorm::run(const Tensor& x, const NormExtras& extras, bool silu) const {
  const auto& [beside, shift] = extras;
  const OpScope op(silu ? "group norm + SiLU" : "group norm", 0, bytes_of(x) + (beside ? bytes_of(*beside) : 0));
  if (x.is_meta() || x.dim() != 4 || !has_kernel(x, weight) || !bias.is_contiguous() || shift) {
    if (x.is_meta()) {
      std::vector<int64_t> shape = x.sizes().vec();
      shape[1] = weight.size(0);
      return at::empty(shape, x.options());
    }
    Tensor whole = beside ? at::cat({x, *beside}, 1) : x;
    if (const auto* device = device_kernels_for(whole)) {
      if (const auto out = device->group_norm(whole, {weight, bias, groups, eps, silu, shift})) return *out;
    }
    if (shift) {
      const Tensor of_videos = shift->view({shift->size(0), 1, shift->size(1), 1, 1});
      whole = (whole.unflatten(0, {shift->size(0), -1}) + of_videos).flatten(0, 1);
    }
    Tensor out = at::group_norm(whole, groups, weight, bias, eps);
    return silu ? at::silu_(out) : out;
  }
  constexpr auto kLayout = at::MemoryFormat::ChannelsLast;
  const Tensor first = x.contiguous(kLayout), second = beside ? beside->contiguous(kLayout) : Tensor();
  Tensor out = at::empty({x.size(0), weight.size(0), x.size(2), x.size(3)}, x.options(), kLayout);
  run_kernel({.x = {first.const_data_ptr<float>(), beside ? second.const_data_ptr<float>() : nullptr},
              .weight = weight.const_data_ptr<float>(),
              .bias = bias.const_data_ptr<float>(),
              .out = out.mutable_data_ptr<float>()},
             {.images = x.size(0),
              .pixels = x.size(2) * x.size(3),
              .groups = groups,
              .channels = {x.size(1), weight.size(0) - x.size(1)},
              .eps = eps,
              .silu = silu});
  return out;
}

Tensor GroupNorm::forward(const Tensor& x) const { return run(x, {}, /*silu=*/false); }

Tensor GroupNorm::forward_silu(const Tensor& x) const { return run(x, {}, /*silu=*/true); }

Tensor GroupNorm::forward_activated(const Tensor& x, Activation activation, const NormExtras& extras) const {
  const bool silu = activation == static_cast<Activation>(at::silu);
  const Tensor out = run(x, extras, silu);
  return silu ? out : activation(out);
}

}  // namespace t2v::nn
