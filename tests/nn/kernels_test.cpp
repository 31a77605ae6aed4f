// SPDX-License-Identifier: Apache-2.0
// Kernels of our own: the fast form against the plain one, row by row; and the paths ATen takes for the rest.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <ATen/ops/_fused_sdp_choice.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include "nn/attention.hpp"
#include "nn/kernels/frame_attention.hpp"
#include "nn/kernels/geglu.hpp"
#include "nn/parallel.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"

namespace t2v::nn {
namespace {

using test::formula_tensor;
using test::is_close;

// Both forms add the same fp32 products in another order.
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

INSTANTIATE_TEST_SUITE_P(
    rows, FrameAttention,
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
