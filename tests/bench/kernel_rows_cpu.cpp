// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <utility>

#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>

#include "kernel_rows.hpp"
#include "media/color.hpp"
#include "nn/kernels/convolution.hpp"
#include "nn/kernels/frame_attention.hpp"
#include "nn/kernels/geglu.hpp"
#include "nn/kernels/group_norm.hpp"
#include "nn/kernels/layer_norm.hpp"
#include "nn/kernels/winograd.hpp"
#include "tensor/operators.hpp"

namespace t2v::bench {

namespace {

namespace k = nn::kernels;
using at::Tensor;

// The plain forms add in double, ours in fp32. A few roundings of 6e-8 of the largest number:
constexpr double kFewSums = 1e-6;
// A rounding for each of `depth` products that add up, in directions that mostly cancel, with a margin of two.
// Winograd's transforms add and subtract multiples of up to 8, which costs some digits more.
double bound_of_sums(int64_t depth, bool by_tiles) {
  return (by_tiles ? 6e-7 : 1e-7) * std::sqrt(static_cast<double>(depth));
}

const float* in(const Tensor& x) { return x.const_data_ptr<float>(); }
Tensor like_floats(at::IntArrayRef shape) { return at::empty(shape, at::TensorOptions().dtype(c10::kFloat)); }
/// [N, H, W, C] in memory as ATen sees it: [N, C, H, W].
Tensor channels_first(const Tensor& x) { return x.permute({0, 3, 1, 2}); }

enum class Form { direct, tiles, gated };

Tensor convolution_aten(const Tensor& x, const Tensor& weight, const Tensor& bias, const k::ConvolutionShape& s,
                        Form form) {
  if (form != Form::gated) {
    return at::conv2d(channels_first(x), channels_first(weight), bias, s.stride, s.padding);
  }
  const Tensor both = at::linear(x, weight.flatten(1), bias);
  return both.narrow(-1, 0, s.outputs / 2) * at::gelu(both.narrow(-1, s.outputs / 2, s.outputs / 2));
}

KernelRow convolution(const std::string& kernel, const std::string& shape, const k::ConvolutionShape& s,
                      Form form = Form::direct) {
  const int64_t channels = s.channels[0];
  const Tensor x = noise({s.images, s.height, s.width, channels}), bias = noise({s.outputs});
  const Tensor weight = noise({s.outputs, s.kernel[0], s.kernel[1], channels});
  const Tensor packed =
      like_floats(form == Form::tiles ? k::winograd_size(channels, s.outputs) : k::packed_size(s.outputs, s.depth()));
  if (form == Form::tiles) {
    k::winograd_pack(in(weight), packed.mutable_data_ptr<float>(), channels, s.outputs);
  } else {
    k::pack(in(weight), packed.mutable_data_ptr<float>(), s.outputs, s.depth(), form == Form::gated);
  }
  const int64_t width = form == Form::gated ? s.outputs / 2 : s.outputs;
  const Tensor plain = like_floats({s.rows(), width}), fast = like_floats({s.rows(), width});
  const auto end = [form](const Tensor& b) { return k::ConvolutionEnd{.bias = in(b), .gated = form == Form::gated}; };
  return {.kernel = kernel,
          .shape = shape,
          .bound = bound_of_sums(s.depth(), form == Form::tiles),
          .flop = 2.0 * static_cast<double>(s.rows() * s.outputs * s.depth()),
          .plain =
              [=] {
                k::convolution_reference({in(x), nullptr}, in(weight), plain.mutable_data_ptr<float>(), s, end(bias));
                return plain;
              },
          .ours =
              [=] {
                float* out = fast.mutable_data_ptr<float>();
                if (form == Form::tiles) {
                  k::winograd_cpu({in(x), nullptr}, in(packed), out, s, end(bias), 0, k::winograd_tasks(s));
                } else {
                  const auto tasks = k::convolution_tasks(s);
                  k::convolution_cpu({in(x), nullptr}, in(packed), out, s, end(bias), tasks, 0, tasks.count());
                }
                return fast;
              },
          .aten = [=] { return convolution_aten(x, weight, bias, s, form); }};
}

k::ConvolutionShape line(int64_t rows, int64_t inputs, int64_t outputs) {
  return {.width = rows, .channels = {inputs, 0}, .out_width = rows, .outputs = outputs};
}
k::ConvolutionShape images(int64_t count, int64_t side, int64_t channels) {
  return {.images = count,
          .height = side,
          .width = side,
          .channels = {channels, 0},
          .kernel = {3, 3},
          .padding = {1, 1},
          .out_height = side,
          .out_width = side,
          .outputs = channels};
}
k::ConvolutionShape frames(int64_t count, int64_t pixels, int64_t channels) {
  return {.height = count,
          .width = pixels,
          .channels = {channels, 0},
          .kernel = {3, 1},
          .padding = {1, 0},
          .out_height = count,
          .out_width = pixels,
          .outputs = channels};
}

Tensor group_norm_fast(const k::GroupNormData& data, const k::GroupNormShape& s, const Tensor& out) {
  const int64_t all = s.all_channels();
  const Tensor sums = like_floats({k::norm_chunks(s), 2, all}), affine = like_floats({2, all});
  auto* to = sums.mutable_data_ptr<float>();
  for (int64_t image = 0; image < s.images; ++image) {
    for (int64_t i = 0; i < k::norm_chunks(s); ++i) k::group_norm_sums(data, s, image, i, to + i * 2 * all);
    k::group_norm_affine(data, s, image, to, affine.mutable_data_ptr<float>());
    for (int64_t i = 0; i < k::norm_chunks(s); ++i) k::group_norm_apply(data, s, image, i, in(affine));
  }
  return out;
}

KernelRow group_norm(const std::string& kernel, const k::GroupNormShape& s) {
  const int64_t all = s.all_channels(), beside = s.channels[1];
  constexpr int64_t kHeight = 16;  // of which all here are multiples; for ATen, which takes another way for a line
  const Tensor x = noise({s.images, kHeight, s.pixels / kHeight, all}), weight = noise({all}), bias = noise({all});
  // In two parts where the shape says so, which ATen has as one.
  const Tensor first = x.narrow(3, 0, s.channels[0]).contiguous(),
               second = x.narrow(3, s.channels[0], beside).contiguous();
  const Tensor plain = like_floats(x.sizes()), fast = like_floats(x.sizes());
  const auto data = [=](const Tensor& out) {
    return k::GroupNormData{{in(first), in(second)}, in(weight), in(bias), out.mutable_data_ptr<float>()};
  };
  return {.kernel = kernel,
          .shape = shape_text(channels_first(x).sizes()),
          .bound = kFewSums,
          .bytes = 2.0 * 4 * static_cast<double>(x.numel()),
          .plain =
              [=] {
                k::group_norm_reference(data(plain), s);
                return plain;
              },
          .ours = [=] { return group_norm_fast(data(fast), s, fast); },
          .aten =
              [=] {
                Tensor out = at::group_norm(channels_first(x), s.groups, weight, bias, s.eps);
                return s.silu ? at::silu_(out) : out;
              }};
}

KernelRow layer_norm(int64_t rows, int64_t width) {
  const Tensor x = noise({rows, width}), weight = noise({width}), bias = noise({width});
  const Tensor plain = like_floats(x.sizes()), fast = like_floats(x.sizes());
  const auto run = [=](auto kernel, const Tensor& out) {
    kernel(in(x), in(weight), in(bias), out.mutable_data_ptr<float>(), rows, width, 1e-5);
    return out;
  };
  return {.kernel = "LayerNorm",
          .shape = shape_text({rows, width}),
          .bound = kFewSums,
          .bytes = 2.0 * 4 * static_cast<double>(x.numel()),
          .plain = [=] { return run(k::layer_norm_reference, plain); },
          .ours = [=] { return run(k::layer_norm_cpu, fast); },
          .aten = [=] { return at::layer_norm(x, {width}, weight, bias, 1e-5); }};
}

KernelRow geglu(int64_t rows, int64_t width) {
  const Tensor x = noise({rows, 2 * width}) * 3, plain = like_floats({rows, width}), fast = like_floats({rows, width});
  const auto run = [=](auto kernel, const Tensor& out) {
    kernel(in(x), out.mutable_data_ptr<float>(), rows, width);
    return out;
  };
  return {.kernel = "GEGLU",
          .shape = shape_text({rows, width}),
          .bound = 3e-7,  // as its header says
          .bytes = 3.0 * 4 * static_cast<double>(fast.numel()),
          .plain = [=] { return run(k::geglu_reference, plain); },
          .ours = [=] { return run(k::geglu_cpu, fast); },
          .aten = [=] { return at::gelu(x.narrow(1, width, width)) * x.narrow(1, 0, width); }};
}

KernelRow frame_attention(const k::FrameAttentionShape& s) {
  const Tensor qkv = noise({s.batch, s.frames, s.positions, 3, s.heads, s.head_dim});
  const std::vector<int64_t> shape{s.batch, s.frames, s.positions, s.heads, s.head_dim};
  const Tensor plain = like_floats(shape), fast = like_floats(shape);
  return {.kernel = "frame attention",
          .shape = shape_text(shape),
          .bound = kFewSums,
          .flop = 4.0 * static_cast<double>(fast.numel() * s.frames),
          .plain =
              [=] {
                k::frame_attention_reference(in(qkv), plain.mutable_data_ptr<float>(), s);
                return plain;
              },
          .ours =
              [=] {
                k::frame_attention_cpu(in(qkv), fast.mutable_data_ptr<float>(), s, 0, s.batch * s.positions);
                return fast;
              },
          .aten =
              [=] {
                const Tensor apart = qkv.permute({3, 0, 2, 4, 1, 5}).flatten(1, 2);  // [3, B*P, N, F, D]
                const Tensor out = at::scaled_dot_product_attention(apart[0], apart[1], apart[2]);
                return out.permute({2, 0, 1, 3}).contiguous();  // as the layer behind it wants them
              }};
}

KernelRow yuv420(int64_t width, int64_t height) {
  const Tensor rgb = noise_bytes({height, width, 3});
  const Tensor plain = at::empty({height * 3 / 2, width}, c10::kByte), fast = at::empty(plain.sizes(), c10::kByte);
  const auto run = [=](auto convert, const Tensor& out) {
    auto* y = out.mutable_data_ptr<uint8_t>();
    uint8_t *u = y + width * height, *v = u + width * height / 4;
    convert(rgb.const_data_ptr<uint8_t>(), width, height, media::YuvPlanes{y, u, v, width, width / 2});
    return out;
  };
  return {.kernel = "RGB to YUV 4:2:0",
          .shape = std::to_string(width) + "x" + std::to_string(height),
          .bound = 1,  // a level, where the formula lies between two: factors have 20 bits
          .bytes = 1.5 * static_cast<double>(rgb.numel()),
          .plain = [=] { return run(media::rgb_to_yuv420_bt709_reference, plain); },
          .ours = [=] { return run(media::rgb_to_yuv420_bt709, fast); }};
}

void add_convolutions(std::vector<KernelRow>& rows) {
  // Of the embedded model's UNet and decoder, of ModelScope's UNet at 64x64, and of Stable Diffusion's decoder.
  for (const auto& [count, channels, side] : {std::array<int64_t, 3>{16, 64, 16},
                                              {16, 160, 4},
                                              {8, 320, 8},
                                              {2, 16, 128},
                                              {2, 32, 128},
                                              {2, 64, 64},
                                              {1, 256, 64}}) {
    const std::string shape = shape_text({count, channels, side, side});
    const k::ConvolutionShape s = images(count, side, channels);
    rows.push_back(convolution("conv 3x3", shape, s));
    if (k::winograd_fits(channels, channels) && k::winograd_pays(s)) {
      rows.push_back(convolution("conv 3x3, Winograd", shape, s, Form::tiles));
    }
  }
  rows.push_back(convolution("conv 3x1 over frames", "16 frames, 64x256", frames(16, 256, 64)));
  rows.push_back(convolution("conv 3x1 over frames", "8 frames, 320x64", frames(8, 64, 320)));
  rows.push_back(convolution("linear", "4096x64 to 192", line(4096, 64, 192)));
  rows.push_back(convolution("linear", "1024x320 to 320", line(1024, 320, 320)));
  rows.push_back(convolution("linear + GEGLU", "4096x64 to 256", line(4096, 64, 512), Form::gated));
  rows.push_back(convolution("linear + GEGLU", "512x320 to 1280", line(512, 320, 2560), Form::gated));
}

}  // namespace

Tensor noise(at::IntArrayRef shape) {
  static std::minstd_rand engine(1);
  std::uniform_real_distribution<float> values(-1, 1);
  Tensor out = like_floats(shape);
  auto* to = out.mutable_data_ptr<float>();
  for (int64_t i = 0; i < out.numel(); ++i) to[i] = values(engine);
  return out;
}

Tensor noise_bytes(at::IntArrayRef shape) {
  static std::minstd_rand engine(1);
  Tensor out = at::empty(shape, c10::kByte);
  auto* to = out.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < out.numel(); ++i) to[i] = static_cast<uint8_t>(engine() >> 8);
  return out;
}

std::string shape_text(at::IntArrayRef shape) {
  std::string text;
  for (const int64_t size : shape) {
    if (!text.empty()) text += 'x';
    text += std::to_string(size);
  }
  return text;
}

std::vector<KernelRow> cpu_rows() {
  std::vector<KernelRow> rows;
  add_convolutions(rows);
  for (const int64_t count : {8, 16, 32}) {
    rows.push_back(frame_attention({1, count, 256, 2, 32}));
    rows.push_back(frame_attention({1, count, 64, 5, 64}));
  }
  rows.push_back(group_norm("GroupNorm", {16, 256, 32, {64, 0}, 1e-6, false}));
  rows.push_back(group_norm("GroupNorm + SiLU", {16, 256, 32, {64, 0}, 1e-5, true}));
  rows.push_back(group_norm("GroupNorm + SiLU of two parts", {16, 256, 32, {64, 32}, 1e-5, true}));
  rows.push_back(group_norm("GroupNorm + SiLU over a video", {1, 4096, 32, {64, 0}, 1e-5, true}));
  rows.push_back(layer_norm(4096, 64));
  rows.push_back(layer_norm(1024, 320));
  rows.push_back(geglu(4096, 256));
  rows.push_back(yuv420(576, 320));
  rows.push_back(yuv420(1024, 576));
  return rows;
}

}  // namespace t2v::bench
