// SPDX-License-Identifier: Apache-2.0
// Latents to frames a chunk at a time, with decoders that only count: how large chunks are, and what is decoded in
// fp32.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include "models/decode.hpp"
#include "models/vae/placements.hpp"
#include "pipelines/whole_run.hpp"
#include "support/net_golden.hpp"

namespace t2v::test {
namespace {

TEST(DecodeChunk, is_smaller_where_little_memory_is_free) {
  Plan plan;
  plan.frames = 16;
  plan.memory.decode_peak = 1600;  // of 8 frames
  EXPECT_EQ(models::chunk_that_fits(plan, 8, 0), 8) << "nobody knows";
  EXPECT_EQ(models::chunk_that_fits(plan, 8, 100'000), 8);
  EXPECT_EQ(models::chunk_that_fits(plan, 8, 1000), 4);
  EXPECT_EQ(models::chunk_that_fits(plan, 8, 10), 1) << "one at least";
}

TEST(DecodeChunk, of_a_run_short_of_memory_is_one_frame) {
  const c10::InferenceMode guard;
  Plan plan;
  plan.frames = 4;
  plan.width = plan.height = 8;
  plan.request.width = plan.request.height = 8;
  plan.device = "cpu";
  std::vector<int64_t> chunks;
  const auto run = [&] {
    chunks.clear();
    MemorySink sink;
    Progress progress;
    const models::FrameDecoder decoder{.decode = [&](const at::Tensor& latents) {
      chunks.push_back(latents.size(0));
      return formula_tensor("frames", {latents.size(0), 3, 8, 8});
    }};
    models::decode_frames(decoder, formula_tensor("latents", {4, 4, 1, 1}), plan, sink, progress);
    EXPECT_EQ(sink.rgb.size(), 4U * 3 * 8 * 8);
  };
  run();
  EXPECT_EQ(chunks, (std::vector<int64_t>{4}));
  plan.memory.decode_peak = std::numeric_limits<int64_t>::max();
  run();
  EXPECT_EQ(chunks, (std::vector<int64_t>{1, 1, 1, 1}));
}

/// Decodes 6 frames two at a time, in fp16; of those in `bad` only fp32 holds the numbers. What each form was given.
struct DecodedTwice {
  explicit DecodedTwice(const std::vector<float>& bad) {
    const c10::InferenceMode guard;
    Plan plan;
    plan.frames = 6;
    plan.width = plan.height = 8;
    plan.request.width = plan.request.height = 8;
    plan.request.decode_chunk = 2;
    const auto frames = [](const at::Tensor& latents) { return at::zeros({latents.size(0), 3, 8, 8}); };
    const models::FrameDecoder decoder{.decode =
                                           [&](const at::Tensor& latents) {
                                             EXPECT_EQ(latents.scalar_type(), c10::kHalf);
                                             at::Tensor out = frames(latents);
                                             for (int64_t i = 0; i < latents.size(0); ++i) {
                                               const auto value = latents[i].item<float>();
                                               half.push_back(value);
                                               if (std::ranges::count(bad, value) > 0)
                                                 out[i].fill_(std::numeric_limits<float>::quiet_NaN());
                                             }
                                             return out;
                                           },
                                       .dtype = c10::kHalf,
                                       .load_fp32 =
                                           [&] {
                                             ++loads;
                                             return [&](const at::Tensor& latents) {
                                               EXPECT_EQ(latents.scalar_type(), c10::kFloat);
                                               for (int64_t i = 0; i < latents.size(0); ++i)
                                                 precise.push_back(latents[i].item<float>());
                                               return frames(latents);
                                             };
                                           }};
    Progress progress;
    models::decode_frames(decoder, at::arange(6, at::TensorOptions().dtype(c10::kFloat)).view({6, 1, 1, 1}), plan, sink,
                          progress);
  }
  std::vector<float> half, precise;  // the frames, by number
  int loads = 0;
  MemorySink sink;
};

TEST(DecodeFrames, in_fp32_only_what_half_precision_can_not_hold) {
  const DecodedTwice run({1, 2});
  EXPECT_EQ(run.half, (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(run.precise, (std::vector<float>{1, 2}));
  EXPECT_EQ(run.loads, 1);
  EXPECT_EQ(run.sink.rgb, std::vector<uint8_t>(6 * 3 * 8 * 8, 128));
}

TEST(DecodeFrames, all_that_follow_a_chunk_without_a_good_frame_in_fp32_at_once) {
  const DecodedTwice run({2, 3});
  EXPECT_EQ(run.half, (std::vector<float>{0, 1, 2, 3}));
  EXPECT_EQ(run.precise, (std::vector<float>{2, 3, 4, 5}));
  EXPECT_EQ(run.sink.rgb.size(), 6U * 3 * 8 * 8);
}

TEST(VaePlacements, decode_in_the_runs_precision_on_a_device) {
  const Placement gpu{c10::Device(c10::kCUDA, 0), c10::kHalf}, cpu{c10::Device(c10::kCPU), c10::kHalf};
  EXPECT_EQ(models::vae_placements(gpu, true).encoding.dtype, c10::kFloat);
  EXPECT_EQ(models::vae_placements(gpu, true).decoding.dtype, c10::kHalf);
  EXPECT_EQ(models::vae_placements(gpu, false).encoding.dtype, c10::kHalf);
  EXPECT_EQ(models::vae_placements(cpu, true).decoding.dtype, c10::kFloat);
  EXPECT_EQ(models::vae_placements(cpu, false).decoding.dtype, c10::kHalf);
  EXPECT_EQ(models::vae_placements(gpu, true).encoding.device, gpu.device);
}

}  // namespace
}  // namespace t2v::test
