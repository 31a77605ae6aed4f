// SPDX-License-Identifier: Apache-2.0
// Times our CPU kernels, one thread, at the shapes of real networks; tests/nn/kernels_test.cpp holds the same kernels
// against their plain forms. FLOP/s and bytes/s are in the columns that Google Benchmark adds.
#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "media/color.hpp"
#include "nn/kernels/convolution.hpp"
#include "nn/kernels/frame_attention.hpp"
#include "nn/kernels/geglu.hpp"
#include "nn/kernels/group_norm.hpp"
#include "nn/kernels/layer_norm.hpp"
#include "nn/kernels/winograd.hpp"

namespace t2v {
namespace {

namespace k = nn::kernels;
using Floats = std::vector<float>;

/// Never zeros: some hardware computes those faster.
Floats noise(int64_t count) {
  static std::minstd_rand engine(1);
  std::uniform_real_distribution<float> values(-1, 1);
  Floats out(static_cast<size_t>(count));
  for (float& x : out) x = values(engine);
  return out;
}

void rate(benchmark::State& state, const char* name, int64_t each) {
  state.counters[name] = benchmark::Counter(static_cast<double>(each * static_cast<int64_t>(state.iterations())),
                                            benchmark::Counter::kIsRate);
}

void convolution(benchmark::State& state, const k::ConvolutionShape& s, bool gated) {
  const int64_t pixels = s.images * s.height * s.width;
  const Floats x = noise(pixels * s.channels[0]), beside = noise(pixels * s.channels[1] + 1);
  const Floats weight = noise(s.outputs * s.depth()), bias = noise(s.outputs);
  Floats packed(static_cast<size_t>(k::packed_size(s.outputs, s.depth()))),
      out(static_cast<size_t>(s.rows() * s.outputs));
  k::pack(weight.data(), packed.data(), s.outputs, s.depth(), gated);
  const auto tasks = k::convolution_tasks(s);
  for (auto _ : state) {
    k::convolution_cpu({x.data(), beside.data()}, packed.data(), out.data(), s, {.bias = bias.data(), .gated = gated},
                       tasks, 0, tasks.count());
  }
  rate(state, "FLOP/s", 2 * s.rows() * s.outputs * s.depth());
}

void winograd(benchmark::State& state, const k::ConvolutionShape& s) {
  const int64_t channels = s.channels[0];
  const Floats x = noise(s.images * s.height * s.width * channels), weight = noise(s.outputs * s.depth());
  Floats packed(static_cast<size_t>(k::winograd_size(channels, s.outputs))),
      out(static_cast<size_t>(s.rows() * s.outputs));
  k::winograd_pack(weight.data(), packed.data(), channels, s.outputs);
  for (auto _ : state) k::winograd_cpu({x.data(), nullptr}, packed.data(), out.data(), s, {}, 0, k::winograd_tasks(s));
  rate(state, "FLOP/s", 2 * s.rows() * s.outputs * s.depth());  // of the plain convolution, to compare with its row
}

k::ConvolutionShape linear(int64_t rows, int64_t in, int64_t out) {
  return {.width = rows, .channels = {in, 0}, .out_width = rows, .outputs = out};
}
k::ConvolutionShape spatial(int64_t images, int64_t side, int64_t in, int64_t out) {
  return {.images = images,
          .height = side,
          .width = side,
          .channels = {in, 0},
          .kernel = {3, 3},
          .padding = {1, 1},
          .out_height = side,
          .out_width = side,
          .outputs = out};
}
k::ConvolutionShape temporal(int64_t frames, int64_t pixels, int64_t channels) {
  return {.height = frames,
          .width = pixels,
          .channels = {channels, 0},
          .kernel = {3, 1},
          .padding = {1, 0},
          .out_height = frames,
          .out_width = pixels,
          .outputs = channels};
}

void group_norm(benchmark::State& state, const k::GroupNormShape& s) {
  const int64_t all = s.all_channels(), count = s.images * s.pixels * all;
  const Floats x = noise(count), weight = noise(all), bias = noise(all);
  Floats out(static_cast<size_t>(count)), sums(static_cast<size_t>(k::norm_chunks(s) * 2 * all)),
      affine(static_cast<size_t>(2 * all));
  const k::GroupNormData data{{x.data(), nullptr}, weight.data(), bias.data(), out.data()};
  for (auto _ : state) {
    for (int64_t image = 0; image < s.images; ++image) {
      for (int64_t i = 0; i < k::norm_chunks(s); ++i)
        k::group_norm_sums(data, s, image, i, &sums[static_cast<size_t>(i * 2 * all)]);
      k::group_norm_affine(data, s, image, sums.data(), affine.data());
      for (int64_t i = 0; i < k::norm_chunks(s); ++i) k::group_norm_apply(data, s, image, i, affine.data());
    }
  }
  rate(state, "B/s", 2 * count * 4);
}

void layer_norm(benchmark::State& state, int64_t rows, int64_t width) {
  const Floats x = noise(rows * width), weight = noise(width), bias = noise(width);
  Floats out(x.size());
  for (auto _ : state) k::layer_norm_cpu(x.data(), weight.data(), bias.data(), out.data(), rows, width, 1e-5);
  rate(state, "B/s", 2 * rows * width * 4);
}

void geglu(benchmark::State& state, int64_t rows, int64_t width) {
  const Floats x = noise(2 * rows * width);
  Floats out(static_cast<size_t>(rows * width));
  for (auto _ : state) k::geglu_cpu(x.data(), out.data(), rows, width);
  rate(state, "B/s", 3 * rows * width * 4);
}

void frame_attention(benchmark::State& state, const k::FrameAttentionShape& s) {
  const int64_t tokens = s.batch * s.frames * s.positions, width = s.heads * s.head_dim;
  const Floats qkv = noise(tokens * 3 * width);
  Floats out(static_cast<size_t>(tokens * width));
  for (auto _ : state) k::frame_attention_cpu(qkv.data(), out.data(), s, 0, s.batch * s.positions);
  rate(state, "FLOP/s", 4 * tokens * s.frames * width);
}

void colour(benchmark::State& state) {
  constexpr int64_t kWidth = 576, kHeight = 320;
  const std::vector<uint8_t> rgb(3 * kWidth * kHeight, 99);
  std::vector<uint8_t> planes(kWidth * kHeight * 3 / 2);
  uint8_t* y = planes.data();
  const media::YuvPlanes out{y, y + kWidth * kHeight, y + kWidth * kHeight * 5 / 4, kWidth, kWidth / 2};
  for (auto _ : state) media::rgb_to_yuv420_bt709(rgb.data(), kWidth, kHeight, out);
  rate(state, "B/s", kWidth * kHeight * 9 / 2);
}

template <typename... Arguments, typename... Given>
void row(const std::string& name, void (*run)(benchmark::State&, Arguments...), const Given&... given) {
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) { run(state, given...); });
}

void register_rows() {
  row("conv 3x3 16x64x16x16", convolution, spatial(16, 16, 64, 64), false);
  row("conv 3x3 16x160x4x4", convolution, spatial(16, 4, 160, 160), false);
  row("conv 3x3 8x320x8x8", convolution, spatial(8, 8, 320, 320), false);
  row("conv 3x3 2x32x128x128", convolution, spatial(2, 128, 32, 32), false);
  row("conv 3x3 2x16x128x128", convolution, spatial(2, 128, 16, 16), false);
  row("conv 3x3 2x64x64x64", convolution, spatial(2, 64, 64, 64), false);
  row("conv 3x3 1x256x64x64", convolution, spatial(1, 64, 256, 256), false);
  row("winograd 16x64x16x16", winograd, spatial(16, 16, 64, 64));
  row("winograd 16x160x4x4", winograd, spatial(16, 4, 160, 160));
  row("winograd 2x32x128x128", winograd, spatial(2, 128, 32, 32));
  row("winograd 2x16x128x128", winograd, spatial(2, 128, 16, 16));
  row("winograd 2x64x64x64", winograd, spatial(2, 64, 64, 64));
  row("winograd 1x256x64x64", winograd, spatial(1, 64, 256, 256));
  row("temporal conv 64", convolution, temporal(16, 256, 64), false);
  row("temporal conv 320", convolution, temporal(8, 64, 320), false);
  row("linear 4096x64x192", convolution, linear(4096, 64, 192), false);
  row("linear 1024x320x320", convolution, linear(1024, 320, 320), false);
  row("linear + GEGLU 4096x64x512", convolution, linear(4096, 64, 512), true);
  row("group norm + SiLU, frames", group_norm, k::GroupNormShape{16, 256, 32, {64, 0}, 1e-5, true});
  row("group norm + SiLU, video", group_norm, k::GroupNormShape{1, 4096, 32, {64, 0}, 1e-5, true});
  row("layer norm 4096x64", layer_norm, int64_t{4096}, int64_t{64});
  row("layer norm 1024x320", layer_norm, int64_t{1024}, int64_t{320});
  row("geglu 4096x256", geglu, int64_t{4096}, int64_t{256});
  for (const int64_t frames : {8, 16, 32}) {
    row("frame attention F=" + std::to_string(frames) + " D=32", frame_attention,
        k::FrameAttentionShape{1, frames, 256, 2, 32});
    row("frame attention F=" + std::to_string(frames) + " D=64", frame_attention,
        k::FrameAttentionShape{1, frames, 64, 5, 64});
  }
  row("RGB to YUV 576x320", colour);
}

}  // namespace
}  // namespace t2v

int main(int argc, char** argv) {
  t2v::register_rows();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
