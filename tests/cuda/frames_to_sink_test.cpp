// SPDX-License-Identifier: Apache-2.0
// From float frames to a file, with and without a device that makes planes of them: the device is the emulated one.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "emulated/plugin.hpp"
#include "engine/cuda_kernels.hpp"
#include "engine/frames.hpp"
#include "models/decode.hpp"
#include "support/cuda_device.hpp"
#include "support/net_golden.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::models {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFrames = 5, kHeight = 32, kWidth = 48;

/// Counts what comes on the way to another sink, and may keep its other side to itself.
class Passing final : public FrameSink, private Yuv420Sink {
 public:
  Passing(FrameSink& inner, bool shows_planes) : inner_(inner), shows_planes_(shows_planes) {}
  void write(const FrameView& frame) override {
    ++rgb;
    inner_.write(frame);
  }
  void finish() override { inner_.finish(); }
  Yuv420Sink* yuv420() override { return shows_planes_ && inner_.yuv420() ? this : nullptr; }
  int rgb = 0, planes = 0;

 private:
  void write_yuv420(const Yuv420View& frame) override {
    ++planes;
    inner_.yuv420()->write_yuv420(frame);
  }
  FrameSink& inner_;
  bool shows_planes_;
};

struct Written {
  int rgb = 0, planes = 0;
  std::vector<char> bytes;
};

class FramesToSink : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override {
    set_device_kernels(nullptr);
    fs::remove_all(folder_);
  }
  void use_kernels(const cuda::PluginApi& api) {
    kernels_ = std::make_unique<engine::CudaKernels>(api, c10::Device(c10::kCPU));
    set_device_kernels(kernels_.get());
  }
  static Plan plan_of(int64_t width) {
    Plan plan;
    plan.frames = kFrames;
    plan.width = width;
    plan.height = plan.request.height.emplace(kHeight);
    plan.request.width = kWidth;
    plan.request.decode_chunk = 2;
    plan.device = "cpu";
    return plan;
  }
  /// Decodes `frames` [F, 3, H, W] into a file of this name.
  Written write(const at::Tensor& frames, const std::string& name, bool shows_planes = true, int64_t width = kWidth) {
    const c10::InferenceMode guard;
    const fs::path path = folder_ / name;
    VideoSpec spec;
    spec.width = width;
    spec.height = kHeight;
    const auto file = open_sink(path, spec);
    Passing sink(*file, shows_planes);
    Progress progress;
    int64_t next = 0;
    const FrameDecoder decoder{.decode = [&](const at::Tensor& latents) {
      next += latents.size(0);
      return frames.narrow(0, next - latents.size(0), latents.size(0));
    }};
    decode_frames(decoder, test::formula_tensor("latents", {kFrames, 4, kHeight / 8, kWidth / 8}), plan_of(width), sink,
                  progress);
    sink.finish();
    std::ifstream in(path, std::ios::binary);
    return {sink.rgb, sink.planes, {std::istreambuf_iterator<char>(in), {}}};
  }

  fs::path folder_ = fs::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
  std::unique_ptr<engine::CudaKernels> kernels_;
  at::Tensor frames_ = test::formula_tensor("frames", {kFrames, 3, kHeight, kWidth}) * 1.3;
};

TEST_F(FramesToSink, a_file_has_the_same_bytes_whether_its_planes_were_made_on_the_device) {
  const Written plain = write(frames_, "plain.mp4");
  EXPECT_EQ(plain.rgb, kFrames);
  EXPECT_EQ(plain.planes, 0);
  use_kernels(cuda::emulated_plugin());
  const Written planes = write(frames_, "planes.mp4");
  EXPECT_EQ(planes.rgb, 0);
  EXPECT_EQ(planes.planes, kFrames);
  EXPECT_EQ(planes.bytes, plain.bytes);
  const Written hidden = write(frames_, "hidden.mp4", /*shows_planes=*/false);
  EXPECT_EQ(hidden.rgb, kFrames);
  EXPECT_EQ(hidden.bytes, plain.bytes);
}

TEST_F(FramesToSink, what_is_scaled_or_stored_otherwise_comes_as_rgb) {
  const Written plain_gif = write(frames_, "a.gif"), plain_wide = write(frames_, "a.mp4", true, 2 * kWidth);
  use_kernels(cuda::emulated_plugin());
  const Written gif = write(frames_, "b.gif"), wide = write(frames_, "b.mp4", true, 2 * kWidth);
  EXPECT_EQ(gif.rgb, kFrames);
  EXPECT_EQ(wide.rgb, kFrames);
  EXPECT_EQ(gif.bytes, plain_gif.bytes);
  EXPECT_EQ(wide.bytes, plain_wide.bytes);
}

TEST_F(FramesToSink, Row43_what_is_not_finite_is_an_error_that_names_the_frames) {
  use_kernels(cuda::emulated_plugin());
  frames_[3][1][4][5] = NAN;
  try {
    write(frames_, "a.mp4");
    ADD_FAILURE() << "wanted an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::numbers);
    EXPECT_NE(std::string(error.what()).find("frames 2 to 3"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(folder_ / "a.mp4"));
}

TEST_F(FramesToSink, a_kernel_that_is_wrong_on_the_device_is_left_out) {
  const Written plain = write(frames_, "plain.mp4");
  cuda::PluginApi wrong = cuda::emulated_plugin();
  wrong.rgb_to_yuv420 = [](int device, const cuda::YuvJob& job) {
    cuda::YuvJob other = job;
    std::swap(other.u, other.v);
    return cuda::emulated_plugin().rgb_to_yuv420(device, other);
  };
  use_kernels(wrong);
  EXPECT_FALSE(kernels_->frames_to_yuv420(frames_));
  EXPECT_TRUE(kernels_->frames_to_rgb8(frames_));
  const Written rgb = write(frames_, "rgb.mp4");
  EXPECT_EQ(rgb.rgb, kFrames);
  EXPECT_EQ(rgb.bytes, plain.bytes);
}

TEST_F(FramesToSink, a_real_device_makes_the_same_file) {
  const Written plain = write(frames_, "plain.mp4");
  if (!test::cuda_device()) GTEST_SKIP() << "no CUDA device";
  const Written planes = write(frames_.to(c10::kCUDA), "planes.mp4");
  EXPECT_EQ(planes.planes, kFrames);
  EXPECT_EQ(planes.bytes, plain.bytes);
}

TEST_F(FramesToSink, odd_sizes_have_no_planes) {
  use_kernels(cuda::emulated_plugin());
  EXPECT_FALSE(kernels_->frames_to_yuv420(frames_.narrow(2, 0, kHeight - 1)));
  EXPECT_FALSE(kernels_->frames_to_yuv420(frames_.narrow(3, 0, kWidth - 1)));
  EXPECT_TRUE(kernels_->frames_to_yuv420(frames_.narrow(3, 0, kWidth - 2)));
}

}  // namespace
}  // namespace t2v::models
