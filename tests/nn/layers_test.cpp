// SPDX-License-Identifier: Apache-2.0
// Every layer against diffusers. Inputs are quiet (variance 1e-5) where an eps must show, loud where a GELU must.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <c10/core/InferenceMode.h>

#include "nn/conv.hpp"
#include "nn/feed_forward.hpp"
#include "nn/linear.hpp"
#include "nn/resample.hpp"
#include "nn/resnet.hpp"
#include "nn/temporal_conv.hpp"
#include "nn/time_embedding.hpp"
#include "nn/transformer_2d.hpp"
#include "nn/transformer_block.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::nn {
namespace {

using test::expected;
using test::formula_tensor;
using test::is_close;
using test::Manifest;
using test::Shape;

// fp32 with another order of additions: 1e-7 an operation. A wrong constant shows at 1e-4 or more here.
constexpr double kTolerance = 2e-6;

class Layer : public ::testing::Test {
 protected:
  /// Builds the layer from the case's checkpoint and checks that it took every tensor.
  template <typename L, typename... Options>
  static L build(const std::string& name, const Options&... options) {
    WeightStore store = test::formula_store(test::read_manifest(test::nets_document()["layer"][name]));
    L layer(store.root(), options...);
    store.expect_all_taken();
    return layer;
  }

  static Tensor channels_last(const Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

  c10::InferenceMode guard_;
  Tensor x_ = formula_tensor("x", {4, 16, 5, 3});
  Tensor quiet_ = formula_tensor("x", {4, 16, 5, 3}, 3e-3F);
  Tensor text_ = formula_tensor("text", {4, 6, 10});
  Tensor tokens_ = formula_tensor("tokens", {3, 5, 16}, 3.0F);
  Tensor temb_ = formula_tensor("temb", {4, 24});
};

TEST_F(Layer, resnet_adds_the_time_embedding_between_its_convolutions) {
  const auto layer = build<ResnetBlock2D>("resnet", ResnetOptions{.in_channels = 16,
                                                                  .out_channels = 16,
                                                                  .temb_channels = 24,
                                                                  .groups = 4,
                                                                  .eps = 1e-5,
                                                                  .activation = activation("silu", "test")});
  EXPECT_TRUE(is_close(layer.forward(channels_last(quiet_), temb_), expected("layer.resnet"), kTolerance));
  EXPECT_TRUE(is_close(layer.forward(quiet_, temb_), expected("layer.resnet"), kTolerance)) << "contiguous input";
}

TEST_F(Layer, resnet_shares_one_time_embedding_among_the_frames_of_a_video) {
  const auto layer = build<ResnetBlock2D>("resnet", ResnetOptions{.in_channels = 16,
                                                                  .out_channels = 16,
                                                                  .temb_channels = 24,
                                                                  .groups = 4,
                                                                  .eps = 1e-5,
                                                                  .activation = activation("silu", "test")});
  const Tensor two = temb_.narrow(0, 0, 2);  // videos of 2 frames
  const Tensor repeated = two.unsqueeze(1).expand({2, 2, 24}).reshape({4, 24});
  // Not bit for bit: a matrix product of two rows rounds unlike one of four.
  EXPECT_TRUE(is_close(layer.forward(x_, two), layer.forward(x_, repeated), kTolerance));
}

TEST_F(Layer, resnet_with_other_widths_has_a_shortcut_and_a_scale) {
  const auto layer = build<ResnetBlock2D>("resnet_shortcut", ResnetOptions{.in_channels = 16,
                                                                           .out_channels = 32,
                                                                           .groups = 4,
                                                                           .eps = 1e-6,
                                                                           .activation = activation("mish", "test"),
                                                                           .output_scale_factor = 1.5});
  EXPECT_TRUE(is_close(layer.forward(channels_last(quiet_)), expected("layer.resnet_shortcut"), kTolerance));
}

TEST_F(Layer, temporal_convolution_normalises_over_all_frames) {
  const auto layer = build<TemporalConvLayer>("temporal_conv", int64_t{16}, int64_t{4});
  EXPECT_TRUE(is_close(layer.forward(channels_last(quiet_), 2), expected("layer.temporal_conv"), kTolerance));
  EXPECT_TRUE(is_close(layer.forward(quiet_, 2), expected("layer.temporal_conv"), kTolerance)) << "contiguous input";
}

TEST_F(Layer, temporal_transformer_attends_along_frames) {
  const auto layer = build<TransformerTemporalModel>(
      "transformer_temporal", TransformerTemporalOptions{.in_channels = 16, .heads = 4, .head_dim = 4, .groups = 4});
  EXPECT_TRUE(is_close(layer.forward(channels_last(quiet_), 2), expected("layer.transformer_temporal"), kTolerance));
}

TEST_F(Layer, spatial_transformer_reads_linear_projections) {
  const auto layer = build<Transformer2DModel>(
      "transformer_2d_linear",
      Transformer2DOptions{.in_channels = 16, .heads = 4, .head_dim = 4, .groups = 4, .cross_attention_dim = 10});
  EXPECT_TRUE(
      is_close(layer.forward(channels_last(quiet_), text_), expected("layer.transformer_2d_linear"), kTolerance));
}

TEST_F(Layer, spatial_transformer_reads_1x1_convolutions_as_linear_projections) {
  const auto layer = build<Transformer2DModel>(
      "transformer_2d_conv",
      Transformer2DOptions{
          .in_channels = 16, .heads = 2, .head_dim = 8, .layers = 2, .groups = 4, .cross_attention_dim = 10});
  EXPECT_TRUE(is_close(layer.forward(x_, text_), expected("layer.transformer_2d_conv"), kTolerance));
}

TEST_F(Layer, transformer_block_may_have_self_attention_only_and_biases) {
  const auto layer = build<BasicTransformerBlock>(
      "block_self_only", TransformerBlockOptions{.head = {.width = 16, .heads = 4, .head_dim = 4, .has_bias = true},
                                                 .feed_forward = FeedForwardKind::gelu});
  EXPECT_TRUE(is_close(layer.forward(tokens_.clone()), expected("layer.block_self_only"), kTolerance));
}

TEST_F(Layer, cross_attention_shares_one_text_among_the_frames_of_a_video) {
  const auto layer = build<Transformer2DModel>(
      "transformer_2d_linear",
      Transformer2DOptions{.in_channels = 16, .heads = 4, .head_dim = 4, .groups = 4, .cross_attention_dim = 10});
  const Tensor two = text_.narrow(0, 0, 2);
  const Tensor repeated = two.unsqueeze(1).expand({2, 2, 6, 10}).reshape({4, 6, 10});
  EXPECT_TRUE(is_close(layer.forward(x_, two), layer.forward(x_, repeated), kTolerance));
}

class FeedForwardLayer : public Layer, public ::testing::WithParamInterface<const char*> {};

TEST_P(FeedForwardLayer, matches_diffusers) {
  const std::string name = GetParam();
  const auto layer = build<FeedForward>("feed_forward." + name,
                                        FeedForwardOptions{.width = 16, .kind = feed_forward_kind(name, "test")});
  EXPECT_TRUE(is_close(layer.forward(tokens_), expected("layer.feed_forward." + name), kTolerance));
}

INSTANTIATE_TEST_SUITE_P(kinds, FeedForwardLayer,
                         ::testing::Values("geglu", "gelu", "gelu-approximate", "geglu-approximate"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_F(Layer, an_unknown_feed_forward_is_refused_by_name) {
  try {
    feed_forward_kind("gegul", "unet/config.json: activation_fn");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_STREQ(error.what(), "unsupported feed-forward: unet/config.json: activation_fn: 'gegul'");
    EXPECT_NE(error.hint().find("geglu"), std::string::npos);
  }
}

TEST_F(Layer, a_product_without_a_bias_adds_to_a_sum_in_place) {
  for (const int64_t inputs : {48, 1024}) {  // packed and not
    WeightStore store = test::formula_store(Manifest{{"weight", {40, inputs}}, {"bias", {40}}});
    Linear layer(store.root(), inputs, 40);
    EXPECT_EQ(layer.is_packed, inputs == 48);
    const Tensor x = formula_tensor("x", {2, 3, inputs}), before = formula_tensor("sum", {2, 3, 40});
    const Tensor wanted = before + layer.forward(x);
    const Tensor bias = layer.release_bias();
    Tensor sum = before.clone();
    const void* memory = sum.const_data_ptr();
    layer.accumulate(sum, x);
    EXPECT_EQ(sum.const_data_ptr(), memory);
    EXPECT_TRUE(is_close(sum + bias, wanted, kTolerance));
  }
}

TEST_F(Layer, a_constant_that_inputs_lack_is_absorbed_by_the_bias) {
  for (const int64_t inputs : {48, 1024}) {  // packed and not
    WeightStore store = test::formula_store(Manifest{{"weight", {40, inputs}}, {"bias", {40}}});
    Linear layer(store.root(), inputs, 40);
    const Tensor x = formula_tensor("x", {7, inputs}), constant = formula_tensor("constant", {inputs});
    const Tensor wanted = layer.forward(x + constant);
    layer.absorb(constant);
    EXPECT_TRUE(is_close(layer.forward(x), wanted, kTolerance));
  }
}

TEST_F(Layer, downsampling_pads_all_around_or_at_the_end_only) {
  const auto even = build<Downsample2D>("downsample", DownsampleOptions{.channels = 16, .padding = 1});
  EXPECT_TRUE(is_close(even.forward(channels_last(x_)), expected("layer.downsample"), kTolerance));
  const auto odd = build<Downsample2D>("downsample_asymmetric", DownsampleOptions{.channels = 16, .padding = 0});
  EXPECT_TRUE(is_close(odd.forward(channels_last(x_)), expected("layer.downsample_asymmetric"), kTolerance));
}

TEST_F(Layer, convolution_equals_atens_for_every_form) {
  struct Row {
    Conv2dOptions options;
    Shape x;
  };
  const Row rows[] = {
      {{.in_channels = 128, .out_channels = 128, .kernel = {3, 3}, .padding = {1, 1}}, {2, 128, 5, 3}},
      {{.in_channels = 128, .out_channels = 128, .kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}},
       {1, 128, 7, 6}},
      {{.in_channels = 128, .out_channels = 128, .kernel = {3, 3}, .stride = {2, 2}}, {1, 128, 7, 7}},
      {{.in_channels = 256, .out_channels = 192, .kernel = {3, 1}, .padding = {1, 0}, .stored_as_3d = true},
       {2, 256, 6, 20}},
      {{.in_channels = 512, .out_channels = 256}, {3, 512, 4, 4}},
      {{.in_channels = 3, .out_channels = 5, .kernel = {3, 3}, .padding = {1, 1}}, {2, 3, 6, 7}},
  };
  for (const Row& row : rows) {
    const auto& o = row.options;
    Shape kernel{o.out_channels, o.in_channels, o.kernel[0], o.kernel[1]};
    const Manifest manifest{{"weight", o.stored_as_3d ? Shape{kernel[0], kernel[1], kernel[2], 1, 1} : kernel},
                            {"bias", {o.out_channels}}};
    WeightStore store = test::formula_store(manifest);
    const Conv2d layer(store.root(), o);
    EXPECT_TRUE(layer.is_packed);
    const Tensor x = formula_tensor("x", row.x);
    const Tensor plain = at::conv2d(x, store.root().take("weight", manifest.at("weight")).reshape(kernel), layer.bias,
                                    o.stride, o.padding);
    EXPECT_TRUE(is_close(layer.forward(channels_last(x)), plain, kTolerance));
    EXPECT_TRUE(is_close(layer.forward(x), plain, kTolerance)) << "contiguous input";
    EXPECT_TRUE(layer.forward(channels_last(x)).is_contiguous(at::MemoryFormat::ChannelsLast));
  }
}

TEST_F(Layer, convolution_takes_its_input_in_two_parts_and_adds_what_it_is_told) {
  const Conv2dOptions options{.in_channels = 24, .out_channels = 40, .kernel = {3, 3}, .padding = {1, 1}};
  WeightStore store = test::formula_store(Manifest{{"weight", {40, 24, 3, 3}}, {"bias", {40}}});
  const Conv2d layer(store.root(), options);
  const Tensor x = channels_last(formula_tensor("x", {4, 16, 5, 6})), beside = formula_tensor("beside", {4, 8, 5, 6});
  const Tensor shift = formula_tensor("shift", {2, 40}), residual = formula_tensor("residual", {4, 40, 5, 6});
  const Tensor plain = at::conv2d(at::cat({x, beside}, 1), store.root().take("weight", {40, 24, 3, 3}), layer.bias,
                                  options.stride, options.padding);
  EXPECT_TRUE(is_close(layer.forward(x, {.beside = beside}), plain, kTolerance));
  const Tensor shifts = shift.repeat_interleave(2, 0).view({4, 40, 1, 1});
  EXPECT_TRUE(is_close(layer.forward(x, {.beside = beside, .shift = shift, .residual = residual}),
                       plain.add(shifts).add(residual), kTolerance));
}

TEST_F(Layer, resnet_takes_a_skip_beside_its_input) {
  const auto layer = build<ResnetBlock2D>("resnet_shortcut", ResnetOptions{.in_channels = 16,
                                                                           .out_channels = 32,
                                                                           .groups = 4,
                                                                           .eps = 1e-6,
                                                                           .activation = activation("mish", "test"),
                                                                           .output_scale_factor = 1.5});
  const Tensor x = quiet_.narrow(1, 0, 6), skip = quiet_.narrow(1, 6, 10);
  EXPECT_TRUE(is_close(layer.forward(x, std::nullopt, skip), expected("layer.resnet_shortcut"), kTolerance));
}

TEST_F(Layer, upsampling_doubles_or_meets_a_given_size) {
  const auto layer = build<Upsample2D>("upsample", int64_t{16});
  EXPECT_TRUE(is_close(layer.forward(channels_last(x_)), expected("layer.upsample"), kTolerance));
  EXPECT_TRUE(is_close(layer.forward(channels_last(x_), std::array<int64_t, 2>{9, 5}), expected("layer.upsample_sized"),
                       kTolerance));
}

TEST_F(Layer, time_embedding_takes_fractions_odd_widths_and_a_condition) {
  const auto layer = build<TimestepEmbedding>(
      "time_embedding",
      TimestepEmbeddingOptions{
          .in_channels = 15, .time_embed_dim = 32, .activation = activation("silu", "test"), .cond_proj_dim = 6});
  const Tensor sinusoids = timesteps(std::vector{0.0, 999.0, 0.25}, {.channels = 15}, at::kCPU);
  EXPECT_TRUE(
      is_close(layer.forward(sinusoids, formula_tensor("cond", {3, 6})), expected("layer.time_embedding"), kTolerance));
}

TEST_F(Layer, timesteps_may_begin_with_the_sine_and_shift_the_frequencies) {
  const Tensor got = timesteps(std::vector{7.0, 2500.5},
                               {.channels = 16, .flip_sin_to_cos = false, .downscale_freq_shift = 1.0}, at::kCPU);
  EXPECT_TRUE(is_close(got, expected("layer.timesteps_sin_first"), 0.0));
}

}  // namespace
}  // namespace t2v::nn
