// SPDX-License-Identifier: Apache-2.0
// Kernels of our own: the fast form against the plain one, row by row; and the paths ATen takes for the rest.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include <ATen/ops/_fused_sdp_choice.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <c10/core/InferenceMode.h>

#include "nn/attention.hpp"
#include "nn/kernels/convolution.hpp"
#include "nn/kernels/frame_attention.hpp"
#include "nn/kernels/geglu.hpp"
#include "nn/kernels/group_norm.hpp"
#include "nn/kernels/layer_norm.hpp"
#include "nn/kernels/winograd.hpp"
#include "nn/packed_convolution.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "support/simd_environment.hpp"
#include "tensor/parallel.hpp"

namespace t2v::nn {
namespace {

using test::formula_tensor;
using test::is_close;

// Both forms add the same products, the fast one in fp32 and in another order.
constexpr double kTolerance = 1e-6;

struct FrameAttentionRow {
  const char* name;
  kernels::FrameAttentionShape shape;
  float scale;  // of q, k and v: at 20 the softmax is nearly a choice of one frame
};

class FrameAttention : public ::testing::TestWithParam<FrameAttentionRow> {
 protected:
  static at::Tensor qkv() {
    const auto& s = GetParam().shape;
    return formula_tensor("qkv", {s.batch, s.frames, s.positions, 3 * s.heads * s.head_dim}, GetParam().scale);
  }
  static at::Tensor reference(const at::Tensor& qkv) {
    const auto& s = GetParam().shape;
    at::Tensor out = at::empty({s.batch, s.frames, s.positions, s.heads * s.head_dim}, qkv.options());
    kernels::frame_attention_reference(qkv.const_data_ptr<float>(), out.mutable_data_ptr<float>(), s);
    return out;
  }
};

TEST_P(FrameAttention, fast_form_equals_the_plain_one) {
  const c10::InferenceMode guard;
  EXPECT_TRUE(is_close(frame_attention(qkv(), GetParam().shape.heads), reference(qkv()), kTolerance));
}

TEST_P(FrameAttention, aten_form_equals_the_plain_one) {
  const c10::InferenceMode guard;
  // fp64 takes the general path, as fp16, bf16 and CUDA do.
  const at::Tensor out = frame_attention(qkv().to(at::kDouble), GetParam().shape.heads);
  EXPECT_TRUE(is_close(out, reference(qkv()), kTolerance));
}

INSTANTIATE_TEST_SUITE_P(rows, FrameAttention,
                         ::testing::Values(FrameAttentionRow{"embedded", {1, 16, 64, 4, 32}, 1.0F},
                                           FrameAttentionRow{"modelscope", {2, 24, 9, 5, 64}, 1.0F},
                                           FrameAttentionRow{"one_frame", {2, 1, 5, 2, 8}, 1.0F},
                                           FrameAttentionRow{"odd_sizes", {3, 7, 3, 3, 5}, 1.0F},
                                           FrameAttentionRow{"wide_head", {1, 33, 2, 1, 160}, 1.0F},
                                           FrameAttentionRow{"sharp", {1, 16, 4, 2, 64}, 20.0F},
                                           FrameAttentionRow{"long_clip", {1, 513, 1, 1, 16}, 1.0F}),
                         [](const auto& param) { return std::string(param.param.name); });

TEST(Geglu, fast_form_equals_the_plain_one_for_every_width) {
  for (const int64_t width : {1, 3, 8, 17, 64, 320}) {
    const int64_t rows = 5;
    const at::Tensor x = formula_tensor("x", {rows, 2 * width}, 3.0F);
    at::Tensor plain = at::empty({rows, width}, x.options()), fast = at::empty({rows, width}, x.options());
    kernels::geglu_reference(x.const_data_ptr<float>(), plain.mutable_data_ptr<float>(), rows, width);
    kernels::geglu_cpu(x.const_data_ptr<float>(), fast.mutable_data_ptr<float>(), rows, width);
    EXPECT_TRUE(is_close(fast, plain, kTolerance)) << width;
  }
}

TEST(Geglu, keeps_its_promise_over_the_whole_range_of_gates) {
  constexpr int64_t kCount = 20001;
  std::vector<float> x(2 * kCount), out(kCount);
  for (int64_t i = 0; i < kCount; ++i) {
    x[static_cast<size_t>(i)] = 1.0F;
    x[static_cast<size_t>(kCount + i)] = static_cast<float>(i - kCount / 2) * 1e-3F;  // -10 .. 10
  }
  kernels::geglu_cpu(x.data(), out.data(), 1, kCount);
  for (int64_t i = 0; i < kCount; ++i) {
    const double gate = x[static_cast<size_t>(kCount + i)];
    const double exact = 0.5 * gate * (1.0 + std::erf(gate / std::sqrt(2.0)));
    ASSERT_NEAR(out[static_cast<size_t>(i)], exact, 3e-7 * std::max(1.0, std::abs(gate))) << "gate " << gate;
  }
}

TEST(Geglu, hands_on_what_is_not_a_number) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> x{1.0F, nan, nan, 1.0F};  // hidden {1, nan}, gate {nan, 1}
  std::vector<float> out(2);
  kernels::geglu_cpu(x.data(), out.data(), 1, 2);
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_TRUE(std::isnan(out[1]));
}

struct ConvolutionRow {
  const char* name;
  kernels::ConvolutionShape shape;
  bool gated = false;
  bool has_residual = false;
  int64_t rows_per_bias = 0;
};

class Convolution : public ::testing::TestWithParam<ConvolutionRow> {};

TEST_P(Convolution, fast_form_equals_the_plain_one) {
  const auto& [name, s, gated, has_residual, rows_per_bias] = GetParam();
  const int64_t pixels = s.images * s.height * s.width, width = gated ? s.outputs / 2 : s.outputs;
  const int64_t out_rows = s.rows() * (s.parity < 0 ? 1 : 4);
  const at::Tensor x = formula_tensor("x", {pixels, s.channels[0]});
  const at::Tensor beside = formula_tensor("beside", {pixels, std::max<int64_t>(1, s.channels[1])});
  const at::Tensor weight = formula_tensor("weight", {s.outputs, s.depth()});
  const at::Tensor bias = formula_tensor("bias", {rows_per_bias ? s.rows() / rows_per_bias : 1, s.outputs});
  const at::Tensor residual = formula_tensor("residual", {out_rows, width});
  at::Tensor plain = formula_tensor("untouched", {out_rows, width}), fast = plain.clone();
  at::Tensor packed = at::empty({kernels::packed_size(s.outputs, s.depth())});
  kernels::pack(weight.const_data_ptr<float>(), packed.mutable_data_ptr<float>(), s.outputs, s.depth(), gated);

  const std::array<const float*, 2> parts{x.const_data_ptr<float>(), beside.const_data_ptr<float>()};
  const kernels::ConvolutionEnd end{.bias = bias.const_data_ptr<float>(),
                                    .rows_per_bias = rows_per_bias,
                                    .residual = has_residual ? residual.const_data_ptr<float>() : nullptr,
                                    .gated = gated};
  kernels::convolution_reference(parts, weight.const_data_ptr<float>(), plain.mutable_data_ptr<float>(), s, end);
  const auto tasks = kernels::convolution_tasks(s);
  for (int64_t task = 0; task < tasks.count(); ++task) {
    kernels::convolution_cpu(parts, packed.const_data_ptr<float>(), fast.mutable_data_ptr<float>(), s, end, tasks, task,
                             task + 1);
  }
  EXPECT_TRUE(is_close(fast, plain, kTolerance));
}

kernels::ConvolutionShape images(int64_t count, int64_t height, int64_t width, std::array<int64_t, 2> channels,
                                 int64_t outputs) {
  return {.images = count,
          .height = height,
          .width = width,
          .channels = channels,
          .out_height = height,
          .out_width = width,
          .outputs = outputs};
}
kernels::ConvolutionShape with_kernel(kernels::ConvolutionShape s, std::array<int64_t, 2> kernel) {
  s.kernel = kernel;
  s.padding = {kernel[0] / 2, kernel[1] / 2};
  return s;
}
kernels::ConvolutionShape halving(kernels::ConvolutionShape s) {
  s.stride = {2, 2};
  s.out_height = (s.height + 1) / 2;
  s.out_width = (s.width + 1) / 2;
  return s;
}
kernels::ConvolutionShape doubling(kernels::ConvolutionShape s, int64_t parity) {
  s.kernel = {2, 2};
  s.parity = parity;
  return s;
}

INSTANTIATE_TEST_SUITE_P(
    rows, Convolution,
    ::testing::Values(ConvolutionRow{"linear", images(1, 1, 131, {64, 0}, 96)},
                      ConvolutionRow{"one_row", images(1, 1, 1, {40, 0}, 33)},
                      ConvolutionRow{"geglu", images(1, 1, 29, {40, 0}, 128), true},
                      ConvolutionRow{"geglu_added", images(1, 1, 12, {16, 0}, 64), true, true},
                      ConvolutionRow{"added", images(2, 3, 5, {24, 0}, 17), false, true},
                      ConvolutionRow{"a_bias_for_each_video", images(4, 3, 5, {24, 0}, 48), false, false, 30},
                      ConvolutionRow{"spatial", with_kernel(images(3, 5, 7, {32, 0}, 40), {3, 3})},
                      ConvolutionRow{"temporal", with_kernel(images(2, 16, 6, {48, 0}, 48), {3, 1}), false, true},
                      ConvolutionRow{"two_parts", with_kernel(images(2, 4, 4, {20, 12}, 31), {3, 3})},
                      ConvolutionRow{"halving", halving(with_kernel(images(2, 9, 8, {16, 0}, 16), {3, 3}))},
                      ConvolutionRow{"few_channels", with_kernel(images(1, 6, 9, {3, 0}, 4), {3, 3})},
                      ConvolutionRow{"many_columns", with_kernel(images(1, 2, 2, {160, 0}, 1000), {3, 3})},
                      ConvolutionRow{"doubling_0", doubling(images(2, 5, 6, {16, 0}, 24), 0)},
                      ConvolutionRow{"doubling_1", doubling(images(2, 5, 6, {16, 0}, 24), 1)},
                      ConvolutionRow{"doubling_2", doubling(images(2, 5, 6, {16, 0}, 24), 2)},
                      ConvolutionRow{"doubling_3", doubling(images(2, 5, 6, {16, 0}, 24), 3)}),
    [](const auto& param) { return std::string(param.param.name); });

/// [outputs, channels, taps] read row by row gives what the whole weight in the kernel's order, [outputs, taps,
/// channels], gives; a last panel that is not full among them.
TEST(Pack, reads_weights_as_files_have_them) {
  for (const auto& [outputs, channels, taps, gated] : {std::tuple{70, 24, 9, false}, std::tuple{1, 3, 3, false},
                                                       std::tuple{33, 130, 1, false}, std::tuple{192, 70, 1, true}}) {
    const kernels::StoredShape shape{.outputs = outputs, .channels = channels, .taps = taps};
    const at::Tensor stored = formula_tensor("weight", {outputs, channels, taps});
    const at::Tensor ordered = stored.transpose(1, 2).contiguous();
    const at::Tensor wanted = at::full({kernels::packed_size(outputs, shape.depth())}, -1.0);
    const at::Tensor got = at::full(wanted.sizes(), -2.0);
    kernels::pack(ordered.const_data_ptr<float>(), wanted.mutable_data_ptr<float>(), outputs, shape.depth(), gated);
    const auto read = [&](int64_t first, int64_t count, float* to) {
      std::copy_n(stored.const_data_ptr<float>() + first * shape.depth(), count * shape.depth(), to);
    };
    kernels::pack(read, got.mutable_data_ptr<float>(), shape, gated);
    EXPECT_TRUE(at::equal(got, wanted)) << outputs << " x " << channels << " x " << taps;
  }
}

TEST(Pack, converts_on_the_way_as_before_it) {
  for (const auto dtype : {c10::kHalf, c10::kBFloat16, c10::kDouble}) {
    const at::Tensor conv = formula_tensor("conv", {70, 24, 3, 3}).to(dtype);
    const at::Tensor linear = formula_tensor("linear", {192, 70}).to(dtype), wide = linear.to(c10::kFloat);
    EXPECT_TRUE(at::equal(pack_weight(conv), pack_weight(conv.to(c10::kFloat))));
    EXPECT_TRUE(at::equal(pack_weight(linear.t()), pack_weight(wide.t().contiguous())));
    EXPECT_TRUE(at::equal(pack_weight(linear, /*gated=*/true), pack_weight(wide, /*gated=*/true)));
    EXPECT_TRUE(at::equal(pack_doubled_weight(conv), pack_doubled_weight(conv.to(c10::kFloat))));
    EXPECT_TRUE(at::equal(pack_winograd_weight(conv), pack_winograd_weight(conv.to(c10::kFloat))));
  }
}

struct WinogradRow {
  const char* name;
  kernels::ConvolutionShape shape;
  bool has_residual = false;
  int64_t rows_per_bias = 0;
};

class Winograd : public ::testing::TestWithParam<WinogradRow> {};

TEST_P(Winograd, equals_the_plain_convolution) {
  const auto& [name, s, has_residual, rows_per_bias] = GetParam();
  const int64_t pixels = s.images * s.height * s.width;
  const at::Tensor x = formula_tensor("x", {pixels, s.channels[0]});
  const at::Tensor beside = formula_tensor("beside", {pixels, std::max<int64_t>(1, s.channels[1])});
  const at::Tensor weight = formula_tensor("weight", {s.outputs, s.depth()});
  const at::Tensor bias = formula_tensor("bias", {rows_per_bias ? s.rows() / rows_per_bias : 1, s.outputs});
  const at::Tensor residual = formula_tensor("residual", {s.rows(), s.outputs});
  at::Tensor plain = formula_tensor("untouched", {s.rows(), s.outputs}), fast = plain.clone();
  const int64_t channels = s.channels[0] + s.channels[1];
  at::Tensor packed = at::empty({kernels::winograd_size(channels, s.outputs)});
  kernels::winograd_pack(weight.const_data_ptr<float>(), packed.mutable_data_ptr<float>(), channels, s.outputs);

  const std::array<const float*, 2> parts{x.const_data_ptr<float>(), beside.const_data_ptr<float>()};
  const kernels::ConvolutionEnd end{.bias = bias.const_data_ptr<float>(),
                                    .rows_per_bias = rows_per_bias,
                                    .residual = has_residual ? residual.const_data_ptr<float>() : nullptr};
  kernels::convolution_reference(parts, weight.const_data_ptr<float>(), plain.mutable_data_ptr<float>(), s, end);
  for (int64_t task = 0; task < kernels::winograd_tasks(s); ++task) {
    kernels::winograd_cpu(parts, packed.const_data_ptr<float>(), fast.mutable_data_ptr<float>(), s, end, task,
                          task + 1);
  }
  // The transforms add and subtract multiples of up to 8, so some digits more are lost than by summing up.
  EXPECT_TRUE(is_close(fast, plain, 1e-5));
}

INSTANTIATE_TEST_SUITE_P(
    rows, Winograd,
    ::testing::Values(WinogradRow{"whole_tiles", with_kernel(images(2, 16, 16, {32, 0}, 32), {3, 3})},
                      WinogradRow{"cut_tiles", with_kernel(images(2, 17, 19, {16, 0}, 48), {3, 3})},
                      WinogradRow{"smaller_than_a_tile", with_kernel(images(3, 3, 2, {16, 0}, 16), {3, 3})},
                      WinogradRow{"odd_channels", with_kernel(images(1, 9, 13, {21, 0}, 37), {3, 3})},
                      WinogradRow{"two_parts", with_kernel(images(2, 8, 12, {20, 13}, 31), {3, 3})},
                      WinogradRow{"added", with_kernel(images(1, 12, 8, {40, 0}, 24), {3, 3}), true},
                      WinogradRow{"a_bias_for_each_video", with_kernel(images(4, 6, 5, {24, 0}, 33), {3, 3}), true, 60},
                      WinogradRow{"many_channels", with_kernel(images(1, 8, 8, {256, 0}, 256), {3, 3})}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(Winograd, a_frame_does_not_depend_on_its_neighbours) {
  const auto s = with_kernel(images(3, 16, 20, {24, 0}, 40), {3, 3});
  auto alone = s;
  alone.images = 1;
  const at::Tensor x = formula_tensor("x", {3, 16 * 20 * 24}),
                   packed = formula_tensor("w", {kernels::winograd_size(24, 40)});
  at::Tensor all = at::empty({3, 16 * 20 * 40}), last = at::empty({16 * 20 * 40});
  kernels::winograd_cpu({x.const_data_ptr<float>(), nullptr}, packed.const_data_ptr<float>(),
                        all.mutable_data_ptr<float>(), s, {}, 0, kernels::winograd_tasks(s));
  kernels::winograd_cpu({x[2].const_data_ptr<float>(), nullptr}, packed.const_data_ptr<float>(),
                        last.mutable_data_ptr<float>(), alone, {}, 0, kernels::winograd_tasks(alone));
  EXPECT_TRUE(is_close(last, all[2], 0.0));
}

TEST(Convolution, tasks_cover_every_row_and_column_once) {
  for (const int64_t rows : {1, 11, 13, 300, 5000}) {
    const auto s = images(1, 1, rows, {8, 0}, 70);
    const at::Tensor x = formula_tensor("x", {rows, 8}), packed = formula_tensor("p", {kernels::packed_size(70, 8)});
    at::Tensor once = formula_tensor("zero", {rows, 70}, 0.0F);
    const auto tasks = kernels::convolution_tasks(s);
    // The output is its own residual, so a row or column that is visited twice shows.
    const kernels::ConvolutionEnd end{.residual = once.const_data_ptr<float>()};
    kernels::convolution_cpu({x.const_data_ptr<float>(), nullptr}, packed.const_data_ptr<float>(),
                             once.mutable_data_ptr<float>(), s, end, tasks, 0, tasks.count());
    at::Tensor plain = at::empty({rows, 70});
    kernels::convolution_cpu({x.const_data_ptr<float>(), nullptr}, packed.const_data_ptr<float>(),
                             plain.mutable_data_ptr<float>(), s, {}, {1, 1}, 0, 1);
    EXPECT_TRUE(is_close(once, plain, 0.0)) << rows;
  }
}

struct NormRow {
  const char* name;
  kernels::GroupNormShape shape;
  float offset = 0;  // added to every value: a mean that is large beside the spread
};

class GroupNormKernel : public ::testing::TestWithParam<NormRow> {};

TEST_P(GroupNormKernel, fast_form_equals_the_plain_one) {
  const auto& [name, s, offset] = GetParam();
  const int64_t pixels = s.images * s.pixels, all = s.all_channels();
  const at::Tensor x = formula_tensor("x", {pixels, s.channels[0]}).add(offset);
  const at::Tensor beside = formula_tensor("beside", {pixels, std::max<int64_t>(1, s.channels[1])}).add(offset);
  const at::Tensor weight = formula_tensor("weight", {all}), bias = formula_tensor("bias", {all});
  at::Tensor plain = at::empty({pixels, all}), fast = at::empty({pixels, all});
  kernels::GroupNormData data{.x = {x.const_data_ptr<float>(), beside.const_data_ptr<float>()},
                              .weight = weight.const_data_ptr<float>(),
                              .bias = bias.const_data_ptr<float>(),
                              .out = plain.mutable_data_ptr<float>()};
  kernels::group_norm_reference(data, s);
  data.out = fast.mutable_data_ptr<float>();
  std::vector<float> sums(static_cast<size_t>(kernels::norm_chunks(s) * 2 * all)), affine(static_cast<size_t>(2 * all));
  for (int64_t image = 0; image < s.images; ++image) {
    for (int64_t i = 0; i < kernels::norm_chunks(s); ++i) {
      kernels::group_norm_sums(data, s, image, i, &sums[static_cast<size_t>(i * 2 * all)]);
    }
    kernels::group_norm_affine(data, s, image, sums.data(), affine.data());
    for (int64_t i = 0; i < kernels::norm_chunks(s); ++i) kernels::group_norm_apply(data, s, image, i, affine.data());
  }
  // With an offset of 100 the inputs themselves are rounded to 4e-6 of their spread.
  EXPECT_TRUE(is_close(fast, plain, offset == 0 ? kTolerance : 1e-4));
}

INSTANTIATE_TEST_SUITE_P(rows, GroupNormKernel,
                         ::testing::Values(NormRow{"spatial", {2, 64, 32, {64, 0}, 1e-5, true}},
                                           NormRow{"plain", {3, 100, 4, {32, 0}, 1e-6, false}},
                                           NormRow{"temporal", {1, 1000, 32, {160, 0}, 1e-5, true}},
                                           NormRow{"two_parts", {2, 70, 8, {40, 24}, 1e-5, true}},
                                           NormRow{"group_across_the_parts", {2, 33, 2, {5, 7}, 1e-5, false}},
                                           NormRow{"one_pixel", {2, 1, 4, {16, 0}, 1e-5, false}},
                                           NormRow{"large_mean", {1, 300, 4, {16, 0}, 1e-5, false}, 100.0F}),
                         [](const auto& param) { return std::string(param.param.name); });

TEST(LayerNormKernel, fast_form_equals_the_plain_one_for_every_width) {
  for (const int64_t width : {1, 5, 16, 33, 64, 320}) {
    const at::Tensor x = formula_tensor("x", {7, width}).add(3), w = formula_tensor("w", {width}),
                     b = formula_tensor("b", {width});
    at::Tensor plain = at::empty({7, width}), fast = at::empty({7, width});
    const auto run = [&](auto kernel, at::Tensor& out) {
      kernel(x.const_data_ptr<float>(), w.const_data_ptr<float>(), b.const_data_ptr<float>(),
             out.mutable_data_ptr<float>(), 7, width, 1e-5);
    };
    run(kernels::layer_norm_reference, plain);
    run(kernels::layer_norm_cpu, fast);
    EXPECT_TRUE(is_close(fast, plain, 2 * kTolerance)) << width;
  }
}

TEST(ParallelFor, covers_every_index_once) {
  std::vector<std::atomic<int>> hits(1000);
  parallel_for(1000, 7, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      ++hits[static_cast<size_t>(i)];
    }
  });
  EXPECT_TRUE(std::all_of(hits.begin(), hits.end(), [](const auto& count) { return count == 1; }));
}

TEST(Attention, takes_atens_flash_path_for_the_layouts_of_the_layers) {
  constexpr int64_t kFlash = 1;  // sdp::SDPBackend::flash_attention
  for (const int64_t length : {1, 2, 5, 256}) {
    const at::Tensor qkv = formula_tensor("qkv", {2, length, 3 * 2 * 16});
    const auto heads = [&](int64_t i) { return qkv.narrow(2, 32 * i, 32).view({2, length, 2, 16}).transpose(1, 2); };
    EXPECT_EQ(at::_fused_sdp_choice(heads(0), heads(1), heads(2)), kFlash) << length;
  }
}

TEST(Attention, equals_the_plain_form_for_short_sequences) {
  const c10::InferenceMode guard;
  for (const int64_t length : {1, 2, 3, 16, 65}) {
    const at::Tensor qkv = formula_tensor("qkv", {2, length, 3 * 2 * 16});
    const at::Tensor got = attention(qkv.narrow(2, 0, 32), qkv.narrow(2, 32, 32), qkv.narrow(2, 64, 32), {.heads = 2});
    // Attention over L tokens is attention along L frames at one position.
    at::Tensor plain = at::empty({2, length, 1, 32}, qkv.options());
    kernels::frame_attention_reference(qkv.const_data_ptr<float>(), plain.mutable_data_ptr<float>(),
                                       {.batch = 2, .frames = length, .positions = 1, .heads = 2, .head_dim = 16});
    EXPECT_TRUE(is_close(got, plain.squeeze(2), kTolerance)) << length;
  }
}

}  // namespace
}  // namespace t2v::nn
