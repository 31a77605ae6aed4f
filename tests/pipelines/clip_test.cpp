// SPDX-License-Identifier: Apache-2.0
// Long clips, loops and camera moves through the public API, on the tiny checkpoint and the embedded model.
#include <cmath>
#include <filesystem>
#include <string>

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include "models/clip.hpp"
#include "pipelines/whole_run.hpp"

namespace t2v::test {
namespace {

/// The tiny checkpoint, opened and loaded once.
struct Tiny {
  Tiny() {
    const io::Json golden = pipelines_golden();
    write_tiny_checkpoint(folder.path(), golden, golden["runs"]["default"]["scheduler"]);
    model = open_model({.model = folder.path().string(), .device = "cpu"});
    pipeline = model->load(progress);
  }
  std::vector<float> run(const Request& request) { return pipeline->denoise(model->plan(request), progress).data; }
  TempFolder folder;
  Progress progress;
  std::unique_ptr<Model> model;
  std::unique_ptr<Pipeline> pipeline;
};

Tiny& tiny() {
  static Tiny one;
  return one;
}

Request small(int64_t frames) {
  return {.prompt = "x", .width = 16, .height = 16, .frames = frames, .steps = 3, .seed = 5};
}

TEST(Clip, windows_that_hold_the_whole_clip_change_nothing) {
  Request request = small(6);
  const auto plain = tiny().run(request);
  request.context = 6;
  EXPECT_EQ(tiny().run(request), plain);
  request.context = 0;
  EXPECT_EQ(tiny().run(request), plain);
  request.noise = "freenoise";
  EXPECT_EQ(tiny().run(request), plain);
  request.freeinit = 1;
  EXPECT_EQ(tiny().run(request), plain);
}

TEST(Clip, of_many_frames_is_made_in_windows_by_default) {
  EXPECT_EQ(tiny().model->plan(small(16)).frames_at_once, 16);
  EXPECT_EQ(tiny().model->plan(small(32)).frames_at_once, 32);
  const Plan plan = tiny().model->plan(small(64));
  EXPECT_EQ(plan.frames_at_once, 16);
  EXPECT_EQ(plan.request.context, 16);
  EXPECT_EQ(plan.request.context_overlap, 4);
  Request all = small(64);
  all.context = 0;
  EXPECT_EQ(tiny().model->plan(all).frames_at_once, 64);
}

TEST(Clip, planned_memory_does_not_grow_with_its_length) {
  const auto memory = [](int64_t frames) { return tiny().model->plan(small(frames)).memory; };
  const MemoryPlan short_clip = memory(16), long_clip = memory(256);
  EXPECT_EQ(long_clip.decode_peak, short_clip.decode_peak);
  // One window, and the latents of the clip a few times over.
  const int64_t latents = int64_t{4} * 256 * 2 * 2 * 4;
  EXPECT_LE(long_clip.denoise_peak, short_clip.denoise_peak + 8 * latents);
}

TEST(Clip, of_64_and_256_frames_has_every_frame) {
  for (const int64_t frames : {64, 256}) {
    Request request = small(frames);
    request.steps = 2;
    const auto data = tiny().run(request);
    ASSERT_EQ(data.size(), static_cast<size_t>(4 * frames * 2 * 2));
    for (const float value : data) ASSERT_TRUE(std::isfinite(value));
    EXPECT_EQ(data, tiny().run(request)) << "same seed, same clip";
  }
}

TEST(Clip, settings_that_shape_it_each_change_it) {
  const auto plain = tiny().run(small(20));
  const auto differs = [&](auto set) {
    Request request = small(20);
    set(request);
    const auto data = tiny().run(request);
    EXPECT_EQ(data.size(), plain.size());
    return data != plain;
  };
  EXPECT_TRUE(differs([](Request& r) { r.context = 8; }));
  EXPECT_TRUE(differs([](Request& r) { r.context = 8, r.noise = "freenoise"; }));
  EXPECT_TRUE(differs([](Request& r) { r.loop = true; }));
  EXPECT_TRUE(differs([](Request& r) { r.freeinit = 2; }));
  EXPECT_TRUE(differs([](Request& r) { r.freeinit = 2, r.freeinit_fast = true; }));
  EXPECT_TRUE(differs([](Request& r) { r.camera = {{"pan-left", 1}}; }));
}

TEST(Clip, works_with_every_kind_of_sampler) {
  for (const std::string sampler : {"ddim", "pndm", "euler", "euler_a", "heun", "dpmpp_2m", "unipc", "lcm"}) {
    Request request = small(10);
    request.sampler = sampler;
    request.steps = 4;
    request.context = 4;
    request.freeinit = 2;
    request.loop = true;
    request.camera = {{"zoom-in", 1}};
    for (const float value : tiny().run(request)) ASSERT_TRUE(std::isfinite(value)) << sampler;
  }
}

/// In how many steps cuDNN was to look for fast convolutions.
struct SearchWatch final : Progress {
  void step(Stage stage, int64_t, int64_t, double) override {
    if (stage == Stage::denoise && at::globalContext().benchmarkCuDNN()) ++searching;
  }
  int searching = 0;
};

TEST(Clip, lets_cudnn_search_in_fast_runs_that_are_long_enough) {
  const auto steps_with_search = [](bool fast, int64_t steps) {
    Request request = small(2);
    request.fast = fast;
    request.steps = steps;
    SearchWatch watch;
    tiny().pipeline->denoise(tiny().model->plan(request), watch);
    EXPECT_FALSE(at::globalContext().benchmarkCuDNN());
    return watch.searching;
  };
  EXPECT_EQ(steps_with_search(true, 20), 20);
  EXPECT_EQ(steps_with_search(true, 19), 0);
  EXPECT_EQ(steps_with_search(false, 20), 0);
}

TEST(Clip, refuses_what_it_cannot_do) {
  const auto message = [](auto set) {
    Request request = small(40);
    set(request);
    try {
      tiny().model->plan(request);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(message([](Request& r) { r.context = 8, r.context_overlap = 8; }),
            "bad value: --context-overlap: wanted 0 to 7, got 8");
  EXPECT_EQ(message([](Request& r) { r.context_blend = "soft"; }), "bad value: --context-blend: got 'soft'");
  EXPECT_EQ(message([](Request& r) { r.camera = {{"pan-up", 1}}; }), "bad value: --camera: got 'pan-up'");
  EXPECT_EQ(message([](Request& r) { r.camera = {{"pan-left", 9}}; }), "bad value: --camera: wanted 0 to 4, got 9");
  EXPECT_EQ(message([](Request& r) { r.freeinit = 0; }), "bad value: --freeinit: wanted 1 to 100, got 0");
}

/// Counts steps and windows of time at which a run could be stopped.
struct Stopper final : Progress {
  bool cancelled() override { return ++asked > 3; }
  int asked = 0;
};

TEST(Clip, can_be_stopped_within_a_step) {
  Request request = small(64);
  Stopper stopper;
  try {
    tiny().pipeline->denoise(tiny().model->plan(request), stopper);
    FAIL() << "not stopped";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::interrupted);
  }
}

/// The stages and steps a progress bar would show.
struct Recorder final : Progress {
  void begin(Stage stage, int64_t count) override {
    if (stage == Stage::denoise) ++begun, promised = count;
  }
  void step(Stage stage, int64_t index, int64_t, double) override {
    if (stage == Stage::denoise) EXPECT_EQ(index, seen++);
  }
  void end(Stage stage, double) override {
    if (stage == Stage::denoise) ++ended;
  }
  int64_t begun = 0, ended = 0, promised = 0, seen = 0;
};

TEST(Clip, sampled_several_times_is_one_stage) {
  Request request = small(4);
  request.steps = 5;
  request.freeinit = 2;
  request.camera = {{"pan-left", 1}};
  Recorder recorder;
  tiny().pipeline->denoise(tiny().model->plan(request), recorder);
  EXPECT_EQ(recorder.begun, 1);
  EXPECT_EQ(recorder.ended, 1);
  EXPECT_EQ(recorder.promised, 5 + 5 + 3);
  EXPECT_EQ(recorder.seen, recorder.promised);
}

}  // namespace
}  // namespace t2v::test
