// SPDX-License-Identifier: Apache-2.0
#include "media/compare.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <vector>

#include "core/check.hpp"
#include "media/video_reader.hpp"
#include "t2v/error.hpp"

namespace t2v::media {

namespace {

constexpr int kWindow = 11;
constexpr double kSigma = 1.5;
constexpr double kC1 = (0.01 * 255) * (0.01 * 255), kC2 = (0.03 * 255) * (0.03 * 255);

std::vector<double> gaussian(int size) {
  std::vector<double> weights(static_cast<size_t>(size));
  double sum = 0;
  for (int i = 0; i < size; ++i) {
    const double x = i - size / 2;
    sum += weights[static_cast<size_t>(i)] = std::exp(-x * x / (2 * kSigma * kSigma));
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

/// The five windowed moments of one channel of a frame pair: mean a, mean b, mean a^2, mean b^2,
/// mean a b.
class SsimChannel {
 public:
  SsimChannel(const FrameView& a, const FrameView& b)
      : a_(a),
        b_(b),
        width_(a.width),
        height_(a.height),
        weights_(gaussian(window_size(a.width, a.height))),
        out_width_(width_ - static_cast<int64_t>(weights_.size()) + 1),
        rows_(weights_.size()) {}

  double mean(int channel) {
    const auto taps = static_cast<int64_t>(weights_.size());
    double sum = 0;
    for (int64_t y = 0; y < height_; ++y) {
      filter_row(y, channel, rows_[static_cast<size_t>(y % taps)]);
      if (y + 1 >= taps) sum += window_row(y + 1 - taps);
    }
    return sum / static_cast<double>(out_width_ * (height_ - taps + 1));
  }

 private:
  using Moments = std::array<std::vector<double>, 5>;

  static int window_size(int64_t width, int64_t height) {
    const int64_t side = std::min<int64_t>({kWindow, width, height});
    return static_cast<int>(side % 2 == 0 ? side - 1 : side);
  }

  void filter_row(int64_t y, int channel, Moments& out) {
    products_.resize(5);
    for (auto& row : products_) row.resize(static_cast<size_t>(width_));
    for (int64_t x = 0; x < width_; ++x) {
      const auto at = static_cast<size_t>(3 * (y * width_ + x) + channel);
      const double p = a_.rgb[at], q = b_.rgb[at];
      const double values[5] = {p, q, p * p, q * q, p * q};
      for (size_t m = 0; m < 5; ++m) products_[m][static_cast<size_t>(x)] = values[m];
    }
    for (size_t m = 0; m < 5; ++m) {
      out[m].assign(static_cast<size_t>(out_width_), 0.0);
      for (size_t k = 0; k < weights_.size(); ++k) {
        for (size_t x = 0; x < out[m].size(); ++x) out[m][x] += weights_[k] * products_[m][x + k];
      }
    }
  }

  double window_row(int64_t top) {
    const size_t taps = weights_.size();
    for (auto& row : column_) row.assign(static_cast<size_t>(out_width_), 0.0);
    for (size_t k = 0; k < taps; ++k) {
      const Moments& row = rows_[(static_cast<size_t>(top) + k) % taps];
      for (size_t m = 0; m < 5; ++m) {
        for (size_t x = 0; x < column_[m].size(); ++x) column_[m][x] += weights_[k] * row[m][x];
      }
    }
    double sum = 0;
    for (size_t x = 0; x < static_cast<size_t>(out_width_); ++x) {
      const double mean_a = column_[0][x], mean_b = column_[1][x];
      const double variance_a = column_[2][x] - mean_a * mean_a, variance_b = column_[3][x] - mean_b * mean_b;
      const double covariance = column_[4][x] - mean_a * mean_b;
      sum += (2 * mean_a * mean_b + kC1) * (2 * covariance + kC2) /
             ((mean_a * mean_a + mean_b * mean_b + kC1) * (variance_a + variance_b + kC2));
    }
    return sum;
  }

  const FrameView &a_, &b_;
  int64_t width_, height_;
  std::vector<double> weights_;
  int64_t out_width_;
  std::vector<Moments> rows_;  // the last window's rows, filtered along x; a ring
  Moments column_;
  std::vector<std::vector<double>> products_;
};

int64_t count_rest(VideoReader& reader, std::vector<uint8_t>& rgb) {
  int64_t count = 0;
  while (reader.next(rgb)) ++count;
  return count;
}

}  // namespace

double mean_squared_error(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  T2V_CHECK(a.size() == b.size() && !a.empty(), "frames of one size are compared");
  int64_t squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const int difference = int{a[i]} - int{b[i]};
    squares += int64_t{difference} * difference;
  }
  return static_cast<double>(squares) / static_cast<double>(a.size());
}

double psnr_of(double mse) {
  return mse > 0 ? 10 * std::log10(255.0 * 255.0 / mse) : std::numeric_limits<double>::infinity();
}

FrameDifference compare_frames(const FrameView& a, const FrameView& b) {
  T2V_CHECK(a.width == b.width && a.height == b.height, "frames of one size are compared");
  FrameDifference result;
  result.mse = mean_squared_error(a.rgb, b.rgb);
  result.psnr = psnr_of(result.mse);
  for (size_t i = 0; i < a.rgb.size(); ++i) {
    result.max_difference = std::max(result.max_difference, std::abs(int{a.rgb[i]} - int{b.rgb[i]}));
  }
  if (result.max_difference == 0) {
    result.ssim = 1;  // exactly, whatever the rounding of the sums
    return result;
  }
  SsimChannel ssim(a, b);
  for (int channel = 0; channel < 3; ++channel) result.ssim += ssim.mean(channel) / 3;
  return result;
}

VideoDifference compare_videos(const std::filesystem::path& a, const std::filesystem::path& b,
                               const std::function<void(int64_t, const FrameDifference&)>& on_frame) {
  const auto reader_a = open_video(a), reader_b = open_video(b);
  VideoDifference result;
  result.min_psnr = std::numeric_limits<double>::infinity();
  std::vector<uint8_t> rgb_a, rgb_b;
  double mse_sum = 0, ssim_sum = 0;
  int64_t frames = 0;
  while (true) {
    const bool has_a = reader_a->next(rgb_a), has_b = reader_b->next(rgb_b);
    if (!has_a || !has_b) {
      result.frames_a = frames + (has_a ? 1 + count_rest(*reader_a, rgb_a) : 0);
      result.frames_b = frames + (has_b ? 1 + count_rest(*reader_b, rgb_b) : 0);
      break;
    }
    const VideoInfo &info_a = reader_a->info(), &info_b = reader_b->info();
    if (info_a.width != info_b.width || info_a.height != info_b.height) {
      const auto size = [](const VideoInfo& i) { return std::to_string(i.width) + "x" + std::to_string(i.height); };
      throw Error(ErrorCode::bad_input, "compare: " + b.string() + ": wanted " + size(info_a) + " like " + a.string() +
                                            ", got " + size(info_b));
    }
    result.width = info_a.width;
    result.height = info_a.height;
    const FrameDifference frame = compare_frames({.width = info_a.width, .height = info_a.height, .rgb = rgb_a},
                                                 {.width = info_b.width, .height = info_b.height, .rgb = rgb_b});
    mse_sum += frame.mse;
    ssim_sum += frame.ssim;
    result.max_difference = std::max(result.max_difference, frame.max_difference);
    result.min_ssim = std::min(result.min_ssim, frame.ssim);
    if (frame.psnr < result.min_psnr) {
      result.min_psnr = frame.psnr;
      result.worst_frame = frames;
    }
    if (on_frame) on_frame(frames, frame);
    ++frames;
  }
  result.psnr = psnr_of(mse_sum / static_cast<double>(std::max<int64_t>(frames, 1)));
  result.mean_ssim = ssim_sum / static_cast<double>(std::max<int64_t>(frames, 1));
  return result;
}

}  // namespace t2v::media
