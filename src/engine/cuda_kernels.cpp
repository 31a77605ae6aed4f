// SPDX-License-Identifier: Apache-2.0
#include "engine/cuda_kernels.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include "core/log.hpp"
#include "engine/cuda_plugin.hpp"
#include "engine/frames.hpp"
#include "engine/near.hpp"
#include "tensor/operators.hpp"

namespace t2v::engine {

namespace {

std::optional<cuda::ElementType> element_type(c10::ScalarType type) {
  switch (type) {
    case c10::kFloat: return cuda::ElementType::fp32;
    case c10::kHalf: return cuda::ElementType::fp16;
    case c10::kBFloat16: return cuda::ElementType::bf16;
    default: return std::nullopt;
  }
}

/// For loads of 16 bytes; views may begin anywhere.
bool are_aligned(std::initializer_list<at::Tensor> tensors) {
  return std::ranges::all_of(
      tensors, [](const at::Tensor& x) { return reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % 16 == 0; });
}

/// Values between -1 and 1 that repeat nowhere in a small tensor.
at::Tensor some_values(at::IntArrayRef shape, double step, at::TensorOptions options) {
  const at::Tensor counted = at::arange(c10::multiply_integers(shape), at::TensorOptions().dtype(c10::kFloat));
  return at::sin(counted * step).view(shape).to(options.device(), options.dtype().toScalarType());
}

/// Whether the first of `both` is near the second in every dtype; it is told where not.
bool is_proven(const char* name, const CudaKernels& kernels,
               const std::function<std::pair<std::optional<at::Tensor>, at::Tensor>(at::TensorOptions)>& both) {
  for (const c10::ScalarType type : kernels.types()) {
    const auto [ours, wanted] = both(at::TensorOptions().device(kernels.device()).dtype(type));
    if (ours && are_near(*ours, wanted)) continue;
    log::warn("CUDA kernel {} in {} is not right on this device; libtorch's is used (please report it)", name,
              c10::toString(type));
    return false;
  }
  return true;
}

}  // namespace

CudaKernels::CudaKernels(const cuda::PluginApi& api, c10::Device device, Types types)
    : api_(api), device_(device), types_(std::move(types)) {
  const c10::InferenceMode guard;
  has_group_norm_ = is_proven("group norm", *this, [&](at::TensorOptions options) {
    const at::Tensor x = some_values({3, 40, 9, 13}, 0.37, options).contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor weight = some_values({40}, 0.7, options), bias = some_values({40}, 0.9, options);
    const std::optional<at::Tensor> shift = some_values({1, 40}, 0.3, options);
    const at::Tensor shifted = x + shift->view({1, 40, 1, 1});
    return std::pair{group_norm(x, {weight, bias, 8, 1e-5, true, shift}),
                     at::silu(at::group_norm(shifted, 8, weight, bias, 1e-5))};
  });
  has_frame_attention_ = is_proven("frame attention", *this, [&](at::TensorOptions options) {
    const at::Tensor qkv = some_values({2, 16, 5, 3 * 2 * 24}, 0.37, options);
    const at::Tensor apart =
        qkv.view({2, 16, 5, 3, 2, 24}).permute({3, 0, 2, 4, 1, 5}).contiguous();  // [3, B, P, N, F, D]
    // Not scaled_dot_product_attention(), which would make plans for this one shape.
    const at::Tensor wide = apart.to(c10::kFloat), logits = wide[0].matmul(wide[1].transpose(-2, -1)) / std::sqrt(24.0);
    const at::Tensor wanted = logits.softmax(-1).matmul(wide[2]).to(qkv.scalar_type());  // [B, P, N, F, D]
    return std::pair{frame_attention(qkv, 2), wanted.permute({0, 3, 1, 2, 4}).reshape({2, 16, 5, 48})};
  });
  has_geglu_ = is_proven("GEGLU", *this, [&](at::TensorOptions options) {
    const at::Tensor x = some_values({7, 2 * 40}, 0.37, options) * 3;
    return std::pair{geglu(x), at::gelu(x.narrow(-1, 40, 40)) * x.narrow(-1, 0, 40)};
  });
  has_add_biased_ = is_proven("sum with bias", *this, [&](at::TensorOptions options) {
    const auto image = [&](double step) {
      return some_values({2, 40, 5, 3}, step, options).contiguous(at::MemoryFormat::ChannelsLast);
    };
    const at::Tensor x = image(0.3), bias = some_values({40}, 0.9, options);
    at::Tensor sum = image(0.37);
    const at::Tensor wanted = sum + 0.5 * (x + bias.view({1, 40, 1, 1}));
    return std::pair{add_biased(sum, x, bias, 0.5) ? std::optional(sum) : std::nullopt, wanted};
  });
  has_layer_norm_ = is_proven("layer norm", *this, [&](at::TensorOptions options) {
    constexpr int64_t kWidth = 328;  // the last lanes of a warp have less to do
    const at::Tensor x = some_values({2, 3, 5, kWidth}, 0.37, options), weight = some_values({kWidth}, 0.7, options),
                     bias = some_values({kWidth}, 0.9, options), offset = some_values({kWidth}, 0.3, options),
                     positions = some_values({3, 1, kWidth}, 0.5, options);
    const at::Tensor wanted = at::layer_norm(x + offset, {kWidth}, weight, bias, 1e-5) + positions;
    return std::pair{layer_norm(x, {weight, bias, 1e-5, offset, positions}), wanted};
  });
  has_rgb8_ = is_proven("RGB", *this, [&](at::TensorOptions options) {
    const at::Tensor frames = some_values({2, 3, 5, 7}, 0.37, options) * 1.2;
    const auto made = frames_to_rgb8(frames);
    return std::pair{made ? std::optional(made->rgb) : std::nullopt, rgb8_of(frames)};
  });
  has_yuv420_ =
      has_rgb8_ && is_proven("YUV", *this, [&](at::TensorOptions options) {
        const at::Tensor frames = some_values({2, 3, 6, 10}, 0.37, options) * 1.2;
        const auto made = frames_to_yuv420(frames);
        return std::pair{made ? std::optional(made->planes.cpu()) : std::nullopt, yuv420_of(rgb8_of(frames).cpu())};
      });
}

bool CudaKernels::takes(const at::Tensor& x) const { return x.device() == device_ && types_.contains(x.scalar_type()); }

std::optional<at::Tensor> CudaKernels::group_norm(const at::Tensor& x, const GroupNorm& norm) const {
  const bool fits = norm.weight.scalar_type() == x.scalar_type() && norm.bias.scalar_type() == x.scalar_type() &&
                    norm.weight.is_contiguous() && norm.bias.is_contiguous() && x.dim() == 4 &&
                    (!norm.shift || (norm.shift->scalar_type() == x.scalar_type() && norm.shift->is_contiguous()));
  if (!has_group_norm_ || !takes(x) || !fits) return std::nullopt;
  const at::Tensor rows = x.contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor out = at::empty(x.sizes(), x.options(), at::MemoryFormat::ChannelsLast);
  cuda::GroupNormJob job{.x = rows.const_data_ptr(),
                         .weight = norm.weight.const_data_ptr(),
                         .bias = norm.bias.const_data_ptr(),
                         .shift = norm.shift ? norm.shift->const_data_ptr() : nullptr,
                         .out = out.mutable_data_ptr(),
                         .type = *element_type(x.scalar_type()),
                         .images = x.size(0),
                         .pixels = x.size(2) * x.size(3),
                         .channels = x.size(1),
                         .groups = norm.groups,
                         .images_per_video = norm.shift ? x.size(0) / norm.shift->size(0) : 1,
                         .eps = norm.eps,
                         .silu = norm.silu,
                         .scratch = nullptr};
  const at::Tensor scratch = at::empty({cuda::group_norm_scratch(job)}, x.options().dtype(c10::kFloat));
  job.scratch = scratch.mutable_data_ptr<float>();
  if (api_.group_norm(device_.index(), job) != 0) return std::nullopt;
  return out;
}

std::optional<at::Tensor> CudaKernels::frame_attention(const at::Tensor& qkv, int64_t heads) const {
  if (!has_frame_attention_ || !takes(qkv) || !qkv.is_contiguous()) return std::nullopt;
  const int64_t width = qkv.size(3) / 3;
  const at::Tensor out = at::empty({qkv.size(0), qkv.size(1), qkv.size(2), width}, qkv.options());
  const cuda::FrameAttentionJob job{.qkv = qkv.const_data_ptr(),
                                    .out = out.mutable_data_ptr(),
                                    .type = *element_type(qkv.scalar_type()),
                                    .batch = qkv.size(0),
                                    .frames = qkv.size(1),
                                    .positions = qkv.size(2),
                                    .heads = heads,
                                    .head_dim = width / heads};
  if (api_.frame_attention(device_.index(), job) != 0) return std::nullopt;
  return out;
}

std::optional<at::Tensor> CudaKernels::geglu(const at::Tensor& x) const {
  if (!has_geglu_ || !takes(x) || !x.is_contiguous()) return std::nullopt;
  const int64_t width = x.size(-1) / 2;
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = width;
  const at::Tensor out = at::empty(shape, x.options());
  const cuda::GegluJob job{.x = x.const_data_ptr(),
                           .out = out.mutable_data_ptr(),
                           .type = *element_type(x.scalar_type()),
                           .rows = x.numel() / (2 * width),
                           .width = width};
  if (api_.geglu(device_.index(), job) != 0) return std::nullopt;
  return out;
}

bool CudaKernels::add_biased(at::Tensor& sum, const at::Tensor& x, const at::Tensor& bias, double share) const {
  constexpr auto kLayout = at::MemoryFormat::ChannelsLast;
  const bool fits = x.sizes() == sum.sizes() && sum.dim() == 4 && sum.is_contiguous(kLayout) &&
                    x.is_contiguous(kLayout) && bias.is_contiguous() && x.scalar_type() == sum.scalar_type() &&
                    bias.scalar_type() == sum.scalar_type();
  if (!has_add_biased_ || !takes(sum) || !fits || !are_aligned({sum, x, bias})) return false;
  const cuda::AddBiasedJob job{.sum = sum.mutable_data_ptr(),
                               .x = x.const_data_ptr(),
                               .bias = bias.const_data_ptr(),
                               .type = *element_type(sum.scalar_type()),
                               .rows = sum.numel() / sum.size(1),
                               .channels = sum.size(1),
                               .share = static_cast<float>(share)};
  return api_.add_biased(device_.index(), job) == 0;
}

std::optional<at::Tensor> CudaKernels::layer_norm(const at::Tensor& x, const LayerNorm& norm) const {
  const auto fits = [&](const at::Tensor& of_norm) {
    return of_norm.scalar_type() == x.scalar_type() && of_norm.is_contiguous();
  };
  if (!has_layer_norm_ || !takes(x) || !x.is_contiguous() || !fits(norm.weight) || !fits(norm.bias) ||
      (norm.offset && !fits(*norm.offset)) || (norm.positions && !fits(*norm.positions))) {
    return std::nullopt;
  }
  const int64_t width = norm.weight.size(0);
  const at::Tensor out = at::empty(x.sizes(), x.options());
  const cuda::LayerNormJob job{.x = x.const_data_ptr(),
                               .weight = norm.weight.const_data_ptr(),
                               .bias = norm.bias.const_data_ptr(),
                               .offset = norm.offset ? norm.offset->const_data_ptr() : nullptr,
                               .positions = norm.positions ? norm.positions->const_data_ptr() : nullptr,
                               .out = out.mutable_data_ptr(),
                               .type = *element_type(x.scalar_type()),
                               .rows = x.numel() / width,
                               .width = width,
                               .position_count = norm.positions ? norm.positions->size(0) : 1,
                               .rows_per_position = norm.positions ? x.size(-2) : 1,
                               .eps = norm.eps};
  if (api_.layer_norm(device_.index(), job) != 0) return std::nullopt;
  return out;
}

std::optional<DeviceKernels::Rgb8> CudaKernels::frames_to_rgb8(const at::Tensor& frames) const {
  if (!has_rgb8_ || !takes(frames)) return std::nullopt;
  const auto options = at::TensorOptions().device(frames.device());
  Rgb8 out{at::empty({frames.size(0), frames.size(2), frames.size(3), 3}, options.dtype(c10::kByte)),
           at::zeros({1}, options.dtype(c10::kInt))};
  const cuda::RgbJob job{.pixels = frames.const_data_ptr(),
                         .type = *element_type(frames.scalar_type()),
                         .frames = frames.size(0),
                         .height = frames.size(2),
                         .width = frames.size(3),
                         .frame_stride = frames.stride(0),
                         .channel_stride = frames.stride(1),
                         .row_stride = frames.stride(2),
                         .column_stride = frames.stride(3),
                         .rgb = out.rgb.mutable_data_ptr<uint8_t>(),
                         .not_finite = out.not_finite.mutable_data_ptr<int>()};
  if (api_.rgb_to_uint8(device_.index(), job) != 0) return std::nullopt;
  return out;
}

std::optional<DeviceKernels::Yuv420> CudaKernels::frames_to_yuv420(const at::Tensor& frames) const {
  const int64_t count = frames.size(0), height = frames.size(2), width = frames.size(3);
  if (!has_yuv420_ || height % 2 != 0 || width % 2 != 0) return std::nullopt;
  const auto made = frames_to_rgb8(frames);
  if (!made) return std::nullopt;
  Yuv420 out{at::empty({count * height * width * 3 / 2}, made->rgb.options()), made->not_finite};
  auto* y = out.planes.mutable_data_ptr<uint8_t>();
  uint8_t *u = y + count * height * width, *v = u + count * height * width / 4;
  const cuda::YuvJob job{.rgb = made->rgb.const_data_ptr<uint8_t>(),
                         .y = y,
                         .u = u,
                         .v = v,
                         .frames = count,
                         .height = height,
                         .width = width};
  if (api_.rgb_to_yuv420(device_.index(), job) != 0) return std::nullopt;
  return out;
}

void use_cuda_kernels(const Placement& placement) {
  static std::mutex mutex;
  static std::unique_ptr<CudaKernels> kernels;
  const std::lock_guard lock(mutex);
  CudaKernels::Types types{c10::kFloat, placement.dtype};
  if (kernels && kernels->device() == placement.device) {
    types.insert(kernels->types().begin(), kernels->types().end());
    if (types == kernels->types()) return set_device_kernels(kernels.get());
  }
  auto fresh = std::make_unique<CudaKernels>(cuda_plugin(), placement.device, std::move(types));
  set_device_kernels(fresh.get());
  kernels = std::move(fresh);
}

}  // namespace t2v::engine
