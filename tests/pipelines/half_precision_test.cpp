// SPDX-License-Identifier: Apache-2.0
// What half precisions cost: frames of the model in the box against those of fp32 from the same noise.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include <c10/util/BFloat16.h>

#include "media/compare.hpp"
#include "pipelines/whole_run.hpp"
#include "support/cuda_device.hpp"

namespace t2v::test {
namespace {

constexpr unsigned kNoises = 3;

/// A model in one precision; frames of 64x64 from noise that every precision holds.
class Engine {
 public:
  Engine(const std::string& device, const std::string& dtype)
      : model_(
            open_model({.model = std::string(T2V_SOURCE_DIR) + "/models/shapes-64", .device = device, .dtype = dtype})),
        pipeline_(model_->load(progress_)) {}

  std::vector<uint8_t> frames(unsigned seed) {
    Request request{.prompt = "a red circle moving to the right", .width = 64, .height = 64, .steps = 4, .seed = 1};
    const std::vector<int64_t> shape = model_->plan(request).latent_shape;
    std::vector<float> noise(static_cast<size_t>(element_count(shape)));
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal;
    for (float& value : noise) value = static_cast<float>(c10::BFloat16(normal(engine)));
    const TempFolder folder;
    request.init_latents = folder.path() / "noise.safetensors";
    TensorWriter file;
    file.add("latents", shape, noise);
    file.write(request.init_latents);
    const Plan plan = model_->plan(request);
    MemorySink sink;
    pipeline_->decode(pipeline_->denoise(plan, progress_), plan, sink, progress_);
    return sink.rgb;
  }

 private:
  Progress progress_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Pipeline> pipeline_;
};

const std::vector<uint8_t>& fp32_frames(unsigned seed) {
  static std::map<unsigned, std::vector<uint8_t>> all;
  static Engine engine("cpu", "fp32");
  auto& frames = all[seed];
  if (frames.empty()) frames = engine.frames(seed);
  return frames;
}

class HalfPrecision : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

// The middle of three: now and then eight bits of mantissa lead a run another way, to 35 dB.
TEST_P(HalfPrecision, frames_are_40_dB_from_those_of_fp32) {
  const auto& [device, dtype] = GetParam();
  const bool has_cuda =
      cuda_device().has_value();  // asked first: libtorch that has computed without CUDA stays without
  if (device == std::string("cuda") && !has_cuda) GTEST_SKIP() << "no CUDA device";
  Engine engine(device, dtype);
  std::vector<double> psnr;
  for (unsigned seed = 1; seed <= kNoises; ++seed) {
    const std::vector<uint8_t> got = engine.frames(seed), &want = fp32_frames(seed);
    ASSERT_EQ(got.size(), want.size());
    double squares = 0;
    for (size_t i = 0; i < got.size(); ++i) squares += std::pow(static_cast<double>(got[i]) - want[i], 2);
    psnr.push_back(media::psnr_of(squares / static_cast<double>(got.size())));
    RecordProperty("psnr_" + std::to_string(seed), std::to_string(psnr.back()));
  }
  std::ranges::sort(psnr);
  EXPECT_GE(psnr[kNoises / 2], 40);
}

INSTANTIATE_TEST_SUITE_P(devices, HalfPrecision,
                         testing::Combine(testing::Values("cpu", "cuda"), testing::Values("fp16", "bf16")),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param);
                         });

}  // namespace
}  // namespace t2v::test
