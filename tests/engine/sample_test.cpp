// SPDX-License-Identifier: Apache-2.0
// The sampling loop: wrong numbers are found and once computed around, a run continues from any step.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <optional>

#include <unistd.h>

#include <ATen/ops/equal.h>

#include "engine/run_state.hpp"
#include "engine/sample.hpp"
#include "engine/whole_steps.hpp"
#include "sampling/support.hpp"
#include "support/fake_graph.hpp"
#include "tensor/operators.hpp"

namespace t2v::engine {
namespace {

using sampling::test::config_of;
using sampling::test::cpu_rng;
using sampling::test::pattern;
using testing::HasSubstr;

const std::vector<int64_t> kShape{2, 4, 3, 3};

const char* config_for(std::string_view sampler) {
  return sampler.starts_with("flow_")
             ? R"({"_class_name":"FlowMatchEulerDiscreteScheduler","shift":3.0,"num_train_timesteps":1000})"
             : R"({"_class_name":"DDIMScheduler","beta_schedule":"scaled_linear","beta_start":0.00085,)"
               R"("beta_end":0.012,"prediction_type":"epsilon","clip_sample":false,"skip_prk_steps":true,)"
               R"("steps_offset":1,"set_alpha_to_one":false})";
}

std::unique_ptr<sampling::Scheduler> scheduler_of(std::string_view sampler, double eta = 0.5, int64_t steps = 6) {
  sampling::SchedulerOptions options;
  options.steps = steps;
  options.eta = eta;
  return sampling::make_scheduler(sampler, config_of(config_for(sampler)), options);
}

/// Predicts in its own dtype from its input, the step and what it kept from the step before.
class TestDenoiser final : public sampling::Denoiser {
 public:
  explicit TestDenoiser(c10::ScalarType dtype = c10::kFloat) : own_(dtype), now_(dtype) {}
  at::Tensor predict(const at::Tensor& x, const sampling::StepContext& step) override {
    const at::Tensor base = x.to(c10::kFloat) * 0.3 + pattern(kShape, step.index) * 0.1;
    const at::Tensor sum = kept_.defined() ? base + kept_ * 0.05 : base;
    kept_ = base;
    // Beyond fp16 at one step, as a network may be inside.
    const at::Tensor large = step.index == overflow_at ? (sum.to(now_) * 4e4 * 40.0) / 1.6e6 : sum.to(now_);
    return step.index == broken_at ? large / 0.0 : large;
  }
  bool use_fp32(bool on) override {
    if (!has_fp32 || own_ == c10::kFloat) return false;
    now_ = on ? c10::kFloat : own_;
    retries += on;
    return true;
  }
  std::map<std::string, at::Tensor> state() const override {
    if (!kept_.defined()) return {};
    return {{"kept", kept_}};
  }
  void set_state(const std::map<std::string, at::Tensor>& state) override {
    const auto found = state.find("kept");
    kept_ = found == state.end() ? at::Tensor() : found->second;
  }

  int64_t overflow_at = -1, broken_at = -1;
  bool has_fp32 = true;
  int retries = 0;

 private:
  c10::ScalarType own_, now_;
  at::Tensor kept_;
};

at::Tensor run(std::string_view sampler, TestDenoiser& denoiser, c10::ScalarType dtype, Progress& progress) {
  const auto scheduler = scheduler_of(sampler);
  Rng rng = cpu_rng();
  const at::Tensor noise = pattern(kShape, 5) * scheduler->init_noise_sigma();
  return sample(*scheduler, noise.to(dtype), denoiser, rng, progress, {.network_dtype = dtype});
}

Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  return {ErrorCode::internal, "no error"};
}

class Samplers : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(, Samplers, testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& row : sampling::scheduler_rows()) names.emplace_back(row.name);
                           return names;
                         }()),
                         [](const auto& info) { return info.param; });

TEST_P(Samplers, Row43_a_step_that_overflows_fp16_is_done_again_in_fp32) {
  Progress progress;
  TestDenoiser whole(c10::kHalf), broken(c10::kHalf);
  const at::Tensor want = run(GetParam(), whole, c10::kHalf, progress);
  broken.overflow_at = 2;
  testing::internal::CaptureStderr();
  const at::Tensor got = run(GetParam(), broken, c10::kHalf, progress);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(broken.retries, 1);
  EXPECT_EQ(whole.retries, 0);
  EXPECT_TRUE(all_finite({got}));
  // One step in fp32 instead of fp16 (10 bits): its rounding, amplified a little by the steps after it.
  const double scale = want.to(c10::kFloat).abs().max().item<double>();
  EXPECT_LT((got.to(c10::kFloat) - want.to(c10::kFloat)).abs().max().item<double>(), 0.02 * scale) << GetParam();
}

/// Keeps every state of a run from its beginning, through a file.
class KeepingProgress final : public Progress {
 public:
  bool wants_state(int64_t, int64_t) override { return from == nullptr; }
  void keep_state(RunState state) override {
    const auto file = std::filesystem::temp_directory_path() / ("t2v_state_" + std::to_string(getpid()));
    save_run_state(file, state, "about");
    KeptRun back = load_run_state(file);
    EXPECT_EQ(back.about, "about");
    EXPECT_EQ(back.state.steps_done, state.steps_done);
    EXPECT_EQ(back.state.steps, state.steps);
    states.push_back(std::move(back.state));
    std::filesystem::remove(file);
  }
  const RunState* resume_state() override { return from; }
  std::vector<RunState> states;
  const RunState* from = nullptr;
};

TEST_P(Samplers, continue_from_a_file_after_any_step_bit_for_bit) {
  for (const c10::ScalarType dtype : {c10::kFloat, c10::kHalf}) {
    KeepingProgress keeping;
    TestDenoiser first(dtype);
    const at::Tensor want = run(GetParam(), first, dtype, keeping);
    const auto calls = static_cast<size_t>(scheduler_of(GetParam())->timesteps().size());
    ASSERT_EQ(keeping.states.size(), calls - 1) << "after every step but the last";
    for (const RunState& state : keeping.states) {
      KeepingProgress later;
      later.from = &state;
      TestDenoiser second(dtype);
      EXPECT_TRUE(at::equal(run(GetParam(), second, dtype, later), want)) << "after step " << state.steps_done;
    }
  }
}

/// A denoiser whose calls are functions of tensors: what it makes depends on the step by `time` alone.
class TensorDenoiser final : public sampling::Denoiser {
 public:
  at::Tensor predict(const at::Tensor& x, const sampling::StepContext& step) override {
    ++called;
    return network(x, time_of(step));
  }
  std::optional<sampling::TensorCall> tensor_call(const sampling::StepContext& step) override {
    return sampling::TensorCall{time_of(step), 0,
                                [this](const at::Tensor& x, const at::Tensor& time) { return network(x, time); }};
  }
  bool use_fp32(bool on) override {
    overflows_ = !on;
    return true;
  }
  int called = 0;
  int64_t overflow_at = -1;

 private:
  at::Tensor time_of(const sampling::StepContext& step) const {
    return at::tensor({static_cast<float>(step.index), step.index == overflow_at ? 1e30F : 1.0F});
  }
  at::Tensor network(const at::Tensor& x, const at::Tensor& time) const {
    const at::Tensor y = (x * 0.7).sin() * 0.5 + pattern(kShape, 2) * time[0] * 0.05;
    return overflows_ ? y * time[1] * time[1] / time[1] / time[1] : y;
  }
  bool overflows_ = true;
};

class WholeSteps : public testing::TestWithParam<const char*> {
 protected:
  at::Tensor run(TensorDenoiser& denoiser, Progress& progress, bool is_recorded = true) {
    const auto scheduler = scheduler_of(GetParam(), kEta, /*steps=*/12);
    rng_ = cpu_rng();
    StepGraph graph = t2v::test::fake_graph(log_, 12);
    return sample(*scheduler, pattern(kShape, 5) * scheduler->init_noise_sigma(), denoiser, rng_, progress,
                  {.network_dtype = c10::kHalf, .graph = is_recorded ? &graph : nullptr});
  }
  static constexpr double kEta = 0.5;         // ddim and tcd draw noise
  static constexpr double kTolerance = 2e-5;  // fp32 in another order of roundings, amplified by multistep methods
  Rng rng_ = cpu_rng();
  t2v::test::FakeGraphLog log_;
};
INSTANTIATE_TEST_SUITE_P(, WholeSteps,
                         testing::Values("ddim", "euler", "dpmpp_2m", "heun", "unipc", "euler_a", "dpm2_a",
                                         "dpmpp_2m_sde", "dpmpp_sde", "ddpm", "lcm", "tcd"));

double difference(const at::Tensor& got, const at::Tensor& want) {
  return ((got - want).norm() / want.norm()).item<double>();
}

TEST_P(WholeSteps, never_call_the_network_by_itself) {
  Progress progress;
  TensorDenoiser denoiser;
  run(denoiser, progress);
  EXPECT_EQ(denoiser.called, 0);
  EXPECT_EQ(log_.recorded, 1);
}

TEST_P(WholeSteps, continue_after_any_step_bit_for_bit) {
  KeepingProgress keeping;
  TensorDenoiser denoiser;
  const at::Tensor want = run(denoiser, keeping);
  for (const RunState& state : keeping.states) {
    KeepingProgress later;
    later.from = &state;
    EXPECT_TRUE(at::equal(run(denoiser, later), want)) << "after step " << state.steps_done;
  }
}

TEST_P(WholeSteps, make_the_run_of_the_calls_with_the_same_noise) {
  Progress progress;
  TensorDenoiser denoiser;
  const at::Tensor want = run(denoiser, progress, /*is_recorded=*/false);
  const at::Tensor random = rng_.state();
  EXPECT_LT(difference(run(denoiser, progress), want), kTolerance);
  EXPECT_TRUE(at::equal(rng_.state(), random));
}

TEST_P(WholeSteps, continue_what_the_calls_began_and_are_continued_by_them) {
  TensorDenoiser denoiser;
  for (const bool is_recorded : {false, true}) {
    KeepingProgress keeping;
    const at::Tensor want = run(denoiser, keeping, is_recorded);
    for (const RunState& state : keeping.states) {
      KeepingProgress later;
      later.from = &state;
      EXPECT_LT(difference(run(denoiser, later, !is_recorded), want), kTolerance) << "after step " << state.steps_done;
    }
  }
}

class NoiseAhead : public testing::Test {
 protected:
  std::unique_ptr<sampling::Scheduler> scheduler_ = scheduler_of("euler_a", /*eta=*/0, /*steps=*/12);
  std::unique_ptr<sampling::TabulatedScheduler> table_ = sampling::TabulatedScheduler::of(*scheduler_, c10::kCPU);
  TensorDenoiser denoiser_;
  t2v::test::FakeGraphLog log_;
  StepGraph graph_ = t2v::test::fake_graph(log_, 12);
};

TEST_F(NoiseAhead, is_drawn_once_and_leaves_the_generator_where_it_is) {
  engine::WholeSteps steps(*table_, denoiser_, graph_);
  Rng rng = cpu_rng(), plain = cpu_rng(), source = cpu_rng();
  at::Tensor state = *steps.step(pattern(kShape, 5), 0, rng);
  plain.normal_like(state);
  EXPECT_TRUE(at::equal(rng.state(), plain.state()));
  int draws = 0;
  const Rng::DrawnFrom counted(rng, [&](at::IntArrayRef shape) {
    ++draws;
    return source.normal(shape, c10::kFloat, c10::kCPU);
  });
  state = *steps.step(state, 1, rng);
  EXPECT_EQ(draws, 1) << "of step 2";
  for (int64_t i = 2; i < 12; ++i) state = *steps.step(state, i, rng);
  EXPECT_EQ(draws, 10);
}

TEST_F(NoiseAhead, is_drawn_again_where_the_generator_has_moved) {
  engine::WholeSteps steps(*table_, denoiser_, graph_), others(*table_, denoiser_, graph_);
  Rng rng = cpu_rng(), moved = cpu_rng(/*seed=*/99);
  const at::Tensor state = *steps.step(pattern(kShape, 5), 0, rng);
  rng.set_state(moved.state());
  EXPECT_TRUE(at::equal(*steps.step(state, 1, rng), *others.step(state, 1, moved)));
}

TEST_P(WholeSteps, that_overflow_are_done_again_in_fp32_and_replayed_no_more) {
  Progress progress;
  TensorDenoiser whole, broken;
  const at::Tensor want = run(whole, progress);
  broken.overflow_at = 5;
  log_ = {};
  const at::Tensor got = run(broken, progress);
  EXPECT_EQ(broken.called, 1);
  EXPECT_EQ(log_.recorded, 1);
  EXPECT_LT(difference(got, want), 1e-5);
}

TEST(Sample, Row43_without_a_better_precision_the_error_names_step_stage_and_dtype) {
  Progress progress;
  for (const int64_t step : {0, 3, 5}) {
    TestDenoiser denoiser(c10::kHalf);
    denoiser.broken_at = step;
    denoiser.has_fp32 = false;
    const Error error = error_of([&] { run("ddim", denoiser, c10::kHalf, progress); });
    EXPECT_EQ(error.code(), ErrorCode::numbers);
    EXPECT_EQ(std::string(error.what()), "numbers went wrong: denoise: step " + std::to_string(step + 1) +
                                             " of 6: wanted finite values, got NaN or Inf in fp16");
    EXPECT_THAT(error.hint(), HasSubstr("--dtype fp32"));
  }
}

TEST(Sample, Row43_a_step_that_fails_in_fp32_too_ends_the_run) {
  Progress progress;
  TestDenoiser half(c10::kHalf), full;
  half.broken_at = full.broken_at = 1;
  EXPECT_THAT(error_of([&] { run("euler", half, c10::kHalf, progress); }).what(),
              HasSubstr("step 2 of 6: wanted finite values, got NaN or Inf in fp16 and again in fp32"));
  EXPECT_EQ(half.retries, 1);
  EXPECT_THAT(error_of([&] { run("euler", full, c10::kFloat, progress); }).what(),
              HasSubstr("step 2 of 6: wanted finite values, got NaN or Inf in fp32"));
}

TEST(Sample, a_state_of_another_run_is_refused) {
  KeepingProgress keeping;
  TestDenoiser denoiser;
  run("ddim", denoiser, c10::kFloat, keeping);
  const auto refuse = [&](const std::function<void(RunState&)>& change) {
    RunState state = keeping.states[2];
    change(state);
    KeepingProgress later;
    later.from = &state;
    TestDenoiser other;
    const Error error = error_of([&] { run("ddim", other, c10::kFloat, later); });
    EXPECT_EQ(error.code(), ErrorCode::bad_input) << error.what();
  };
  refuse([](RunState& state) { state.steps = 50; });
  refuse([](RunState& state) { state.steps_done = -1; });
  refuse([](RunState& state) { state.steps_done = 7; });
  refuse([](RunState& state) { state.arrays.erase("run.latents"); });
  refuse([](RunState& state) { state.arrays.erase("run.rng"); });
  refuse([](RunState& state) { state.arrays["run.latents"].shape = {2, 4, 3, 4}; });
  refuse([](RunState& state) { state.arrays["run.latents"].dtype = "I7"; });
  refuse([](RunState& state) {
    state.arrays["run.rng"].shape = {1};
    state.arrays["run.rng"].bytes.resize(1);
  });
}

TEST(Finite, extremes_of_every_dtype_are_fine_and_one_bad_element_is_found) {
  for (const c10::ScalarType dtype : {c10::kFloat, c10::kHalf, c10::kBFloat16}) {
    at::Tensor x = pattern({3, 5, 7}, 1).to(dtype);
    x[0][0][0] = 60000;
    x[0][0][1] = -60000;
    EXPECT_TRUE(all_finite({x, x}));
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
      at::Tensor y = x.clone();
      y[2][4][6] = bad;
      EXPECT_FALSE(all_finite({y}));
      EXPECT_FALSE(all_finite({x, y}));
      EXPECT_FALSE(all_finite({y.transpose(0, 2)}));
    }
  }
}

TEST(Finite, a_result_beyond_its_precision_is_computed_again_in_fp32) {
  bool fp32 = false;
  const auto compute = [&] { return (pattern({4}, 1).to(fp32 ? c10::kFloat : c10::kHalf) * 6e4 * 6e4) / 3.6e9; };
  const auto use_fp32 = [&](bool on) {
    fp32 = on;
    return true;
  };
  const at::Tensor got = compute_finite("text", compute, use_fp32);
  EXPECT_FALSE(fp32) << "switched back";
  EXPECT_EQ(got.scalar_type(), c10::kHalf);
  EXPECT_TRUE(all_finite({got}));
  EXPECT_THROW(compute_finite("text", compute), Error);
  EXPECT_THROW(compute_finite("text", compute, [](bool) { return false; }), Error);
}

}  // namespace
}  // namespace t2v::engine
