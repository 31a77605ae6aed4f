// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <memory>
#include <string>

#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>

#include "engine/cuda_kernels.hpp"
#include "engine/frames.hpp"
#include "kernel_rows.hpp"
#include "media/color.hpp"
#include "nn/kernels/frame_attention.hpp"
#include "nn/kernels/geglu.hpp"
#include "nn/kernels/group_norm.hpp"
#include "nn/kernels/layer_norm.hpp"
#include "tensor/operators.hpp"

namespace t2v::bench {

namespace {

namespace k = nn::kernels;
using at::Tensor;

/// Of Stable Diffusion's UNet with 16 frames of 512x320, and what an emulator gets through.
struct Sizes {
  int64_t frames, channels, height, width, heads, head_dim;
};
constexpr Sizes kReal{16, 320, 40, 64, 8, 40}, kSmall{4, 64, 4, 6, 2, 32};

/// One dtype of one device. A row's inputs are rounded to the dtype before either form sees them.
struct Target {
  std::shared_ptr<const engine::CudaKernels> kernels;
  const cuda::PluginApi& api;
  c10::Device device;
  c10::ScalarType dtype;

  /// Results are rounded to the dtype; sums are in fp32 whatever it is.
  double bound() const { return dtype == c10::kHalf ? 1e-3 : dtype == c10::kBFloat16 ? 8e-3 : 2e-6; }
  double element() const { return static_cast<double>(c10::elementSize(dtype)); }
  bool on_device() const { return device.is_cuda(); }
  Tensor rounded(const Tensor& x) const { return x.to(dtype).to(c10::kFloat); }
  Tensor there(const Tensor& x) const { return x.to(device, dtype); }
  std::string name(const std::string& kernel) const {
    const char* type = dtype == c10::kHalf ? "fp16" : dtype == c10::kBFloat16 ? "bf16" : "fp32";
    return kernel + " (" + (on_device() ? "CUDA " : "emulated ") + type + ")";
  }
};

/// Undefined where the kernel was not taken, which the table counts as a difference.
Tensor or_nothing(const std::optional<Tensor>& made) { return made.value_or(Tensor()); }

KernelRow group_norm(const Target& t, const Sizes& s) {
  constexpr int64_t kGroups = 32;
  const int64_t pixels = s.height * s.width;
  const Tensor x = t.rounded(noise({s.frames, s.height, s.width, s.channels})), weight = t.rounded(noise({s.channels}));
  const Tensor bias = t.rounded(noise({s.channels})), shift = t.rounded(noise({1, s.channels}));
  const Tensor x_there = t.there(x).permute({0, 3, 1, 2}), weight_there = t.there(weight), bias_there = t.there(bias),
               shift_there = t.there(shift);
  return {.kernel = t.name("GroupNorm + SiLU + shift"),
          .shape = shape_text(x_there.sizes()),
          .bound = t.bound(),
          .bytes = 2 * t.element() * static_cast<double>(x.numel()),
          .on_device = t.on_device(),
          .plain =
              [=] {
                const Tensor shifted = x + shift.view({1, 1, 1, s.channels}), out = at::empty(x.sizes(), x.options());
                k::group_norm_reference({.x = {shifted.const_data_ptr<float>(), nullptr},
                                         .weight = weight.const_data_ptr<float>(),
                                         .bias = bias.const_data_ptr<float>(),
                                         .out = out.mutable_data_ptr<float>()},
                                        {s.frames, pixels, kGroups, {s.channels, 0}, 1e-5, true});
                return out.permute({0, 3, 1, 2});
              },
          .ours =
              [=] {
                return or_nothing(
                    t.kernels->group_norm(x_there, {weight_there, bias_there, kGroups, 1e-5, true, shift_there}));
              },
          .aten =
              [=] {
                const Tensor shifted = x_there + shift_there.view({1, s.channels, 1, 1});
                Tensor out = at::group_norm(shifted, kGroups, weight_there, bias_there, 1e-5);
                return at::silu_(out);
              }};
}

KernelRow frame_attention(const Target& t, const Sizes& s) {
  const int64_t positions = s.height * s.width, width = s.heads * s.head_dim;
  const Tensor qkv = t.rounded(noise({1, s.frames, positions, 3 * width})), qkv_there = t.there(qkv);
  return {.kernel = t.name("frame attention"),
          .shape = shape_text({1, s.frames, positions, s.heads, s.head_dim}),
          .bound = t.bound(),
          .flop = 4.0 * static_cast<double>(s.frames * s.frames * positions * width),
          .on_device = t.on_device(),
          .plain =
              [=] {
                const Tensor out = at::empty({1, s.frames, positions, width}, qkv.options());
                k::frame_attention_reference(qkv.const_data_ptr<float>(), out.mutable_data_ptr<float>(),
                                             {1, s.frames, positions, s.heads, s.head_dim});
                return out;
              },
          .ours = [=] { return or_nothing(t.kernels->frame_attention(qkv_there, s.heads)); },
          .aten =
              [=] {
                const Tensor apart = qkv_there.view({s.frames, positions, 3, s.heads, s.head_dim})
                                         .permute({2, 1, 3, 0, 4});  // [3, P, N, F, D]
                const Tensor out = at::scaled_dot_product_attention(apart[0], apart[1], apart[2]);
                return out.permute({2, 0, 1, 3}).contiguous();  // as the layer behind it wants them
              }};
}

KernelRow geglu(const Target& t, const Sizes& s) {
  const int64_t rows = s.frames * s.height * s.width / 4, width = 4 * s.channels;
  const Tensor x = t.rounded(noise({rows, 2 * width}) * 3), x_there = t.there(x);
  return {.kernel = t.name("GEGLU"),
          .shape = shape_text({rows, width}),
          .bound = t.bound(),
          .bytes = 3 * t.element() * static_cast<double>(rows * width),
          .on_device = t.on_device(),
          .plain =
              [=] {
                const Tensor out = at::empty({rows, width}, x.options());
                k::geglu_reference(x.const_data_ptr<float>(), out.mutable_data_ptr<float>(), rows, width);
                return out;
              },
          .ours = [=] { return or_nothing(t.kernels->geglu(x_there)); },
          .aten = [=] { return at::gelu(x_there.narrow(1, width, width)) * x_there.narrow(1, 0, width); }};
}

KernelRow add_biased(const Target& t, const Sizes& s) {
  const auto image = [&] {
    return t.rounded(noise({s.frames, s.channels, s.height, s.width})).contiguous(at::MemoryFormat::ChannelsLast);
  };
  const Tensor x = image(), sum = image(), bias = t.rounded(noise({s.channels}));
  const Tensor x_there = t.there(x), sum_there = t.there(sum), bias_there = t.there(bias);
  return {.kernel = t.name("sum with bias"),
          .shape = shape_text(sum.sizes()),
          .bound = t.bound(),
          .bytes = 3 * t.element() * static_cast<double>(sum.numel()),
          .on_device = t.on_device(),
          .plain =
              [=] {
                return sum + (x + bias.view({1, -1, 1, 1}));
              },
          .ours =
              [=] {
                Tensor out = sum_there.clone();
                return t.kernels->add_biased(out, x_there, bias_there, 1.0) ? out : Tensor();
              },
          .aten =
              [=] {
                return sum_there.clone().add_(x_there).add_(bias_there.view({1, -1, 1, 1}));
              }};
}

KernelRow layer_norm(const Target& t, const Sizes& s) {
  const int64_t positions = s.height * s.width, width = s.channels;
  const Tensor x = t.rounded(noise({1, s.frames, positions, width})), weight = t.rounded(noise({width})),
               bias = t.rounded(noise({width})), offset = t.rounded(noise({width})),
               of_frames = t.rounded(noise({s.frames, 1, width}));
  const Tensor x_there = t.there(x), weight_there = t.there(weight), bias_there = t.there(bias),
               offset_there = t.there(offset), of_frames_there = t.there(of_frames);
  return {.kernel = t.name("LayerNorm + offset + positions"),
          .shape = shape_text(x.sizes()),
          .bound = t.bound(),
          .bytes = 2 * t.element() * static_cast<double>(x.numel()),
          .on_device = t.on_device(),
          .plain =
              [=] {
                const Tensor shifted = x + offset, out = at::empty(x.sizes(), x.options());
                k::layer_norm_reference(shifted.const_data_ptr<float>(), weight.const_data_ptr<float>(),
                                        bias.const_data_ptr<float>(), out.mutable_data_ptr<float>(),
                                        s.frames * positions, width, 1e-5);
                return out + of_frames;
              },
          .ours =
              [=] {
                return or_nothing(
                    t.kernels->layer_norm(x_there, {weight_there, bias_there, 1e-5, offset_there, of_frames_there}));
              },
          .aten =
              [=] {
                return at::layer_norm(x_there + offset_there, {width}, weight_there, bias_there, 1e-5) +
                       of_frames_there;
              }};
}

KernelRow rgb8(const Target& t, const Sizes& s) {
  // Beyond -1 and 1 as well, and channels-last, as the decoder leaves it.
  const Tensor frames = t.rounded(noise({s.frames, 8 * s.height, 8 * s.width, 3}) * 1.3).permute({0, 3, 1, 2});
  const Tensor frames_there = t.there(frames);
  return {.kernel = t.name("frames to uint8"),
          .shape = shape_text(frames.sizes()),
          .bound = 0,  // byte for byte
          .bytes = (t.element() + 1) * static_cast<double>(frames.numel()),
          .on_device = t.on_device(),
          .plain = [=] { return engine::rgb8_of(frames); },
          .ours =
              [=] {
                const auto made = t.kernels->frames_to_rgb8(frames_there);
                return made ? made->rgb : Tensor();
              },
          .aten = [=] { return engine::rgb8_of(frames_there); }};
}

/// Plain is the conversion of the CPU, whose bytes it has to give; kernel_rows_cpu.cpp holds that one to the formula.
KernelRow yuv420(const Target& t, const Sizes& s) {
  const int64_t height = 8 * s.height, width = 8 * s.width, pixels = s.frames * height * width;
  const Tensor rgb = noise_bytes({s.frames, height, width, 3}), rgb_there = rgb.to(t.device);
  const Tensor plain = at::empty({pixels * 3 / 2}, c10::kByte), fast = at::empty(plain.sizes(), rgb_there.options());
  return {.kernel = std::string("RGB to YUV 4:2:0 (") + (t.on_device() ? "CUDA)" : "emulated)"),
          .shape = shape_text({s.frames, width, height}),
          .bound = 0,  // byte for byte
          .bytes = 1.5 * static_cast<double>(rgb.numel()),
          .on_device = t.on_device(),
          .plain =
              [=] {
                auto* y = plain.mutable_data_ptr<uint8_t>();
                uint8_t *u = y + pixels, *v = u + pixels / 4;
                const int64_t frame = height * width;
                for (int64_t f = 0; f < s.frames; ++f) {
                  media::rgb_to_yuv420_bt709(rgb.const_data_ptr<uint8_t>() + f * 3 * frame, width, height,
                                             {y + f * frame, u + f * frame / 4, v + f * frame / 4, width, width / 2});
                }
                return plain;
              },
          .ours =
              [=, &api = t.api] {
                auto* y = fast.mutable_data_ptr<uint8_t>();
                uint8_t *u = y + pixels, *v = u + pixels / 4;
                const cuda::YuvJob job{rgb_there.const_data_ptr<uint8_t>(), y, u, v, s.frames, height, width};
                const int index = t.on_device() ? t.device.index() : 0;
                return api.rgb_to_yuv420(index, job) == 0 ? fast : Tensor();
              }};
}

}  // namespace

std::vector<KernelRow> device_rows(const cuda::PluginApi& api, c10::Device device, bool is_small) {
  const Sizes& sizes = is_small ? kSmall : kReal;
  const auto kernels = std::make_shared<const engine::CudaKernels>(api, device);
  std::vector<KernelRow> rows;
  for (const c10::ScalarType dtype : {c10::kFloat, c10::kHalf, c10::kBFloat16}) {
    const Target target{kernels, api, device, dtype};
    for (const auto& make : {group_norm, frame_attention, geglu, add_biased, layer_norm, rgb8})
      rows.push_back(make(target, sizes));
  }
  rows.push_back(yuv420({kernels, api, device, c10::kFloat}, sizes));
  return rows;
}

}  // namespace t2v::bench
