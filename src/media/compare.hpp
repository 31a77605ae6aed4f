// SPDX-License-Identifier: Apache-2.0
// How much two videos differ, frame by frame, in constant memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

#include "t2v/frame_sink.hpp"

namespace t2v::media {

struct FrameDifference {
  double mse = 0;          ///< mean squared error over pixels and channels, in levels of 255
  double psnr = 0;         ///< 10 log10(255^2 / mse); infinity for equal frames
  double ssim = 0;         ///< mean over R, G, B; 1 for equal frames
  int max_difference = 0;  ///< largest of any channel, in levels of 255
};

/// Mean squared error of two buffers of one size, in levels of 255.
double mean_squared_error(std::span<const uint8_t> a, std::span<const uint8_t> b);
/// 10 log10(255^2 / mse); infinity for none.
double psnr_of(double mse);

/// Frames of the same size. SSIM as in Wang et al. 2004: 11x11 Gaussian window, sigma 1.5, K1 0.01,
/// K2 0.03, only windows that lie inside the picture (smaller pictures: the largest odd window that
/// fits).
FrameDifference compare_frames(const FrameView& a, const FrameView& b);

struct VideoDifference {
  int64_t frames_a = 0, frames_b = 0;  ///< the shorter one's count was compared
  int64_t width = 0, height = 0;
  double psnr = 0;                    ///< of the mse over all frames
  double min_psnr = 0, min_ssim = 1;  ///< of the worst frame
  double mean_ssim = 0;
  int max_difference = 0;
  int64_t worst_frame = 0;  ///< the one with the lowest psnr
};

/// Videos, pictures or patterns. `on_frame` may be empty. Throws Error{bad_input} when the sizes
/// differ.
VideoDifference compare_videos(const std::filesystem::path& a, const std::filesystem::path& b,
                               const std::function<void(int64_t, const FrameDifference&)>& on_frame = {});

}  // namespace t2v::media
