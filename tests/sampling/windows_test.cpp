// SPDX-License-Identifier: Apache-2.0
// Context windows: which frames they hold, how predictions are blended, and that nothing changes
// without them.
#include <algorithm>
#include <set>

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "sampling/windows.hpp"
#include "tensor/operators.hpp"

namespace t2v::sampling::test {
namespace {

using Windows = std::vector<std::vector<int64_t>>;

std::vector<WindowOptions> many_options() {
  std::vector<WindowOptions> all;
  for (const int64_t frames : {17, 20, 33, 64, 256}) {
    for (const int64_t size : {2, 8, 16}) {
      for (const int64_t overlap : {int64_t{0}, size / 4, size / 2, size - 1}) {
        for (const int64_t strides : {1, 3}) {
          for (const bool loop : {false, true}) {
            all.push_back({.frames = frames, .size = size, .overlap = overlap, .strides = strides, .loop = loop});
          }
        }
      }
    }
  }
  return all;
}

TEST(Windows, hold_every_frame_in_every_step_and_none_twice) {
  for (const WindowOptions& options : many_options()) {
    for (int64_t step = 0; step < 11; ++step) {
      std::set<int64_t> seen;
      for (const auto& window : windows_at(options, step)) {
        EXPECT_EQ(static_cast<int64_t>(window.size()), options.size);
        const std::set<int64_t> frames(window.begin(), window.end());
        EXPECT_EQ(frames.size(), window.size());
        EXPECT_GE(*frames.begin(), 0);
        EXPECT_LT(*frames.rbegin(), options.frames);
        seen.insert(frames.begin(), frames.end());
      }
      EXPECT_EQ(static_cast<int64_t>(seen.size()), options.frames)
          << options.frames << " frames, size " << options.size << ", overlap " << options.overlap;
    }
  }
}

TEST(Windows, of_an_open_clip_run_forward_and_never_wrap_around) {
  for (const WindowOptions& options : many_options()) {
    if (options.loop) continue;
    for (int64_t step = 0; step < 11; ++step) {
      for (const auto& window : windows_at(options, step)) EXPECT_TRUE(std::ranges::is_sorted(window));
    }
  }
}

TEST(Windows, neighbours_share_at_least_the_overlap) {
  for (const int64_t step : {0, 1, 5}) {
    const Windows windows = windows_at({.frames = 61, .size = 16, .overlap = 4}, step);
    for (size_t i = 1; i < windows.size(); ++i) EXPECT_GE(windows[i - 1].back() - windows[i].front() + 1, 4);
  }
}

TEST(Windows, seams_move_from_step_to_step) {
  std::set<std::vector<int64_t>> starts;
  for (int64_t step = 0; step < 8; ++step) {
    std::vector<int64_t> of_step;
    for (const auto& window : windows_at({.frames = 64, .size = 16, .overlap = 4}, step)) of_step.push_back(window[0]);
    starts.insert(of_step);
  }
  EXPECT_EQ(starts.size(), 8U);
}

// AnimateDiff-CLI context.py uniform(step, 10, 4, stride 2, overlap 1, closed_loop=True), run in Python.
TEST(Windows, of_a_loop_equal_the_uniform_schedule_of_animatediff_cli) {
  const WindowOptions options{.frames = 10, .size = 4, .overlap = 1, .strides = 2, .loop = true};
  EXPECT_EQ(windows_at(options, 0),
            (Windows{{0, 1, 2, 3}, {3, 4, 5, 6}, {6, 7, 8, 9}, {9, 0, 1, 2}, {0, 2, 4, 6}, {7, 9, 1, 3}}));
  EXPECT_EQ(windows_at(options, 3),
            (Windows{{8, 9, 0, 1}, {1, 2, 3, 4}, {4, 5, 6, 7}, {7, 8, 9, 0}, {9, 1, 3, 5}, {6, 8, 0, 2}}));
}

TEST(Windows, of_a_short_loop_turn_the_clip) {
  const WindowOptions options{.frames = 8, .overlap = 4, .loop = true};
  EXPECT_EQ(windows_at(options, 0), (Windows{{0, 1, 2, 3, 4, 5, 6, 7}, {4, 5, 6, 7, 0, 1, 2, 3}}));
  EXPECT_EQ(windows_at(options, 2)[0], (std::vector<int64_t>{2, 3, 4, 5, 6, 7, 0, 1}));
}

TEST(Windows, are_off_for_a_clip_that_fits) {
  EXPECT_FALSE((WindowOptions{.frames = 16, .size = 16}).active());
  EXPECT_FALSE((WindowOptions{.frames = 99, .size = 0}).active());
  EXPECT_TRUE((WindowOptions{.frames = 17, .size = 16}).active());
  EXPECT_TRUE((WindowOptions{.frames = 4, .size = 0, .loop = true}).active());
}

TEST(Windows, pyramid_weights_rise_to_the_middle) {
  EXPECT_EQ(blend_weights(Blend::pyramid, 4), (std::vector<float>{1, 2, 2, 1}));
  EXPECT_EQ(blend_weights(Blend::pyramid, 5), (std::vector<float>{1, 2, 3, 2, 1}));
  EXPECT_EQ(blend_weights(Blend::flat, 3), (std::vector<float>{1, 1, 1}));
}

/// Remembers what it saw; predicts from the frame numbers it was told.
struct FrameTeller final : Denoiser {
  explicit FrameTeller(int64_t dim) : frame_dim(dim) {}
  at::Tensor predict(const at::Tensor& x, const StepContext& step) override {
    calls.emplace_back(step.frames.begin(), step.frames.end());
    std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
    shape[static_cast<size_t>(frame_dim)] = -1;
    const at::Tensor numbers = at::arange(64, at::TensorOptions().dtype(x.scalar_type())).view(shape);
    return x * 2 + frames_of(numbers, frame_dim, step);
  }
  int64_t frame_dim;
  Windows calls;
};

TEST(WindowedDenoiser, gives_every_frame_its_own_prediction) {
  for (const int64_t dim : {0, 1, 2}) {
    for (const bool loop : {false, true}) {
      std::vector<int64_t> shape{2, 3, 4, 5, 6};
      shape[static_cast<size_t>(dim)] = 64;
      const at::Tensor x = at::randn(shape);
      FrameTeller inner(dim), whole(dim);
      WindowedDenoiser windowed(inner, {.frames = 64, .size = 16, .overlap = 4, .strides = 2, .loop = loop}, dim);
      const at::Tensor got = windowed.predict(x, {.index = 3, .count = 8, .timestep = 1});
      EXPECT_GT(inner.calls.size(), 4U);
      // Where predictions of a frame agree, blending keeps them, up to rounding.
      EXPECT_LT((got - whole.predict(x, {})).abs().max().item<double>(), 1e-4);
    }
  }
}

TEST(WindowedDenoiser, without_windows_is_the_inner_one_bit_for_bit) {
  const at::Tensor x = at::randn({64, 4, 2, 2});
  FrameTeller inner(0);
  WindowedDenoiser windowed(inner, {.frames = 64, .size = 64, .overlap = 16}, 0);
  EXPECT_TRUE(at::equal(windowed.predict(x, {}), FrameTeller(0).predict(x, {})));
  EXPECT_EQ(inner.calls, (Windows{{}}));
}

TEST(WindowedDenoiser, can_be_stopped_between_windows) {
  FrameTeller inner(0);
  WindowedDenoiser windowed(inner, {.frames = 64, .size = 16, .overlap = 4}, 0, [&] {
    if (inner.calls.size() == 2) throw std::runtime_error("stop");
  });
  EXPECT_THROW(windowed.predict(at::randn({64, 1, 1, 1}), {}), std::runtime_error);
  EXPECT_EQ(inner.calls.size(), 2U);
}

}  // namespace
}  // namespace t2v::sampling::test
