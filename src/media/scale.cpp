// SPDX-License-Identifier: Apache-2.0
#include "media/scale.hpp"

#include <cstring>

#include "core/check.hpp"
#include "media/av.hpp"

namespace t2v::media {

namespace {

constexpr int64_t kMaxSide = 16384;

class ScaledSink final : public FrameSink {
 public:
  ScaledSink(std::unique_ptr<FrameSink> inner, std::unique_ptr<FrameScaler> scaler)
      : inner_(std::move(inner)), scaler_(std::move(scaler)) {}
  void write(const FrameView& frame) override { inner_->write(scaler_->scale(frame)); }
  void finish() override { inner_->finish(); }

 private:
  std::unique_ptr<FrameSink> inner_;
  std::unique_ptr<FrameScaler> scaler_;
};

}  // namespace

/// swscale's grey path is the one that scales samples and nothing else: RGB would go through Y'CbCr
/// on its way.
struct FrameScaler::Lanczos {
  UniqueSws sws;
  std::vector<uint8_t> in, out;
};

FrameScaler::FrameScaler(int64_t in_width, int64_t in_height, int64_t out_width, int64_t out_height, ScaleMethod method)
    : in_width_(in_width), in_height_(in_height), out_width_(out_width), out_height_(out_height) {
  for (const int64_t side : {in_width, in_height, out_width, out_height}) {
    if (side >= 1 && side <= kMaxSide) continue;
    throw Error(ErrorCode::usage,
                "video size: wanted 1 to " + std::to_string(kMaxSide) + " pixels a side, got " + std::to_string(side));
  }
  rgb_.resize(static_cast<size_t>(3 * out_width * out_height));
  if (method == ScaleMethod::nearest) {
    source_x_.resize(static_cast<size_t>(out_width));
    // The source pixel under the middle of the output pixel.
    for (int64_t x = 0; x < out_width; ++x)
      source_x_[static_cast<size_t>(x)] = (2 * x + 1) * in_width / (2 * out_width);
    return;
  }
  lanczos_ = std::make_unique<Lanczos>();
  lanczos_->sws.reset(sws_getContext(static_cast<int>(in_width), static_cast<int>(in_height), AV_PIX_FMT_GRAY8,
                                     static_cast<int>(out_width), static_cast<int>(out_height), AV_PIX_FMT_GRAY8,
                                     SWS_LANCZOS | SWS_ACCURATE_RND | SWS_BITEXACT, nullptr, nullptr, nullptr));
  if (!lanczos_->sws) throw Error(ErrorCode::no_resource, "scaling: out of memory");
  lanczos_->in.resize(static_cast<size_t>(in_width * in_height));
  lanczos_->out.resize(static_cast<size_t>(out_width * out_height));
}

FrameScaler::~FrameScaler() = default;

FrameView FrameScaler::scale(const FrameView& frame) {
  T2V_CHECK(frame.width == in_width_ && frame.height == in_height_ &&
                frame.rgb.size() == static_cast<size_t>(3 * in_width_ * in_height_),
            "a frame has the size its scaler was made for");
  if (!lanczos_) {
    for (int64_t y = 0; y < out_height_; ++y) {
      const uint8_t* row = frame.rgb.data() + 3 * in_width_ * ((2 * y + 1) * in_height_ / (2 * out_height_));
      uint8_t* out = rgb_.data() + 3 * out_width_ * y;
      for (int64_t x = 0; x < out_width_; ++x) std::memcpy(out + 3 * x, row + 3 * source_x_[static_cast<size_t>(x)], 3);
    }
  } else {
    for (size_t channel = 0; channel < 3; ++channel) {
      for (size_t i = 0; i < lanczos_->in.size(); ++i) lanczos_->in[i] = frame.rgb[3 * i + channel];
      const uint8_t* source[4] = {lanczos_->in.data()};
      const int source_stride[4] = {static_cast<int>(in_width_)};
      uint8_t* target[4] = {lanczos_->out.data()};
      const int target_stride[4] = {static_cast<int>(out_width_)};
      av_check(
          sws_scale(lanczos_->sws.get(), source, source_stride, 0, static_cast<int>(in_height_), target, target_stride),
          "sws_scale", "scaling", ErrorCode::internal);
      for (size_t i = 0; i < lanczos_->out.size(); ++i) rgb_[3 * i + channel] = lanczos_->out[i];
    }
  }
  return {.width = out_width_, .height = out_height_, .rgb = rgb_};
}

std::unique_ptr<FrameSink> make_scaled(std::unique_ptr<FrameSink> inner, int64_t in_width, int64_t in_height,
                                       int64_t out_width, int64_t out_height, ScaleMethod method) {
  return std::make_unique<ScaledSink>(
      std::move(inner), std::make_unique<FrameScaler>(in_width, in_height, out_width, out_height, method));
}

}  // namespace t2v::media
