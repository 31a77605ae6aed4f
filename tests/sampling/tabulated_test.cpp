// SPDX-License-Identifier: Apache-2.0
// A sampler as a table makes the sampler's run, and what is no table is left alone.
#include "sampling/tabulated.hpp"

#include <ostream>
#include <set>
#include <string>
#include <vector>

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "sampling/support.hpp"
#include "tensor/operators.hpp"

namespace t2v::sampling {
namespace {

using at::Tensor;
using test::config_of;
using test::cpu_rng;
using test::pattern;

const std::vector<int64_t> kShape{2, 4, 3, 3};
const c10::Device kCpu(c10::kCPU);

const char* kEpsilon =
    R"({"_class_name":"DDIMScheduler","beta_schedule":"scaled_linear","beta_start":0.00085,"beta_end":0.012,)"
    R"("prediction_type":"epsilon","clip_sample":false,"skip_prk_steps":true,"steps_offset":1,)"
    R"("set_alpha_to_one":false})";
const char* kVelocity = R"({"_class_name":"DDIMScheduler","beta_schedule":"linear","prediction_type":"v_prediction",)"
                        R"("clip_sample":false,"skip_prk_steps":false,"timestep_spacing":"trailing"})";
const char* kFlow = R"({"_class_name":"FlowMatchEulerDiscreteScheduler","shift":3.0,"num_train_timesteps":1000})";

struct Case {
  std::string sampler, config, sigmas;
  int64_t steps = 9;
  double strength = 1.0;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.sampler << ", " << c.steps << " steps, " << c.sigmas; }

std::unique_ptr<Scheduler> make(const Case& c, double eta = 0) {
  SchedulerOptions options;
  options.steps = c.steps;
  options.strength = c.strength;
  options.sigmas = c.sigmas;
  options.eta = eta;
  return make_scheduler(c.sampler, config_of(c.config), options);
}

/// A network that is no linear function of its input.
Tensor predict(const Tensor& x, int64_t i) { return (x * 0.7).sin() * 0.5 + pattern(kShape, i) * 0.2; }

Tensor run(Scheduler& scheduler, int64_t first, Tensor x) {
  Rng rng = cpu_rng();
  for (int64_t i = first; i < static_cast<int64_t>(scheduler.timesteps().size()); ++i) {
    x = scheduler.step(predict(scheduler.scale_model_input(x, i), i), i, x, rng);
  }
  return x;
}
Tensor start(const Scheduler& scheduler) { return pattern(kShape, 3) * scheduler.init_noise_sigma(); }

double difference(const Tensor& got, const Tensor& want) { return ((got - want).norm() / want.norm()).item<double>(); }

class Tables : public testing::TestWithParam<Case> {};

// Both are fp32 in another order of roundings: a few ulp a step, which multistep methods amplify.
constexpr double kTolerance = 2e-5;

TEST_P(Tables, make_the_samplers_run) {
  const auto plain = make(GetParam()), tabulated = make(GetParam());
  const auto table = TabulatedScheduler::of(*tabulated, kCpu);
  ASSERT_TRUE(table);
  EXPECT_TRUE(tabulated->state().empty()) << "left as it was";
  EXPECT_LT(difference(run(*table, 0, start(*table)), run(*plain, 0, start(*plain))), kTolerance);
}

TEST_P(Tables, hand_a_run_over_to_the_sampler_and_take_it_back_after_any_step) {
  const auto whole = make(GetParam());
  const Tensor want = run(*whole, 0, start(*whole));
  const auto calls = static_cast<int64_t>(whole->timesteps().size());
  for (int64_t done = 1; done < calls; ++done) {
    const auto plain = make(GetParam()), tabulated = make(GetParam());
    const auto table = TabulatedScheduler::of(*tabulated, kCpu);
    const auto part = [&](Scheduler& first, Scheduler& second) {
      Rng rng = cpu_rng();
      Tensor x = start(first);
      for (int64_t i = 0; i < done; ++i) x = first.step(predict(first.scale_model_input(x, i), i), i, x, rng);
      second.set_state(first.state());
      return run(second, done, x);
    };
    EXPECT_LT(difference(part(*table, *plain), want), kTolerance) << done;
    plain->set_state({});
    EXPECT_LT(difference(part(*plain, *table), want), kTolerance) << done;
  }
}

TEST_P(Tables, go_on_from_their_own_state_bit_for_bit) {
  const auto scheduler = make(GetParam());
  const auto table = TabulatedScheduler::of(*scheduler, kCpu);
  const Tensor want = run(*table, 0, start(*table));
  table->set_state({});
  Rng rng = cpu_rng();
  Tensor x = start(*table);
  for (int64_t i = 0; i < 3; ++i) x = table->step(predict(table->scale_model_input(x, i), i), i, x, rng);
  const auto state = table->state();
  table->set_state({});
  table->set_state(state);
  EXPECT_TRUE(at::equal(run(*table, 3, x), want));
}

std::vector<Case> deterministic() {
  std::vector<Case> cases;
  for (const char* sampler : {"ddim", "pndm", "euler", "heun", "dpm2", "lms", "dpmpp_2m", "deis", "unipc"}) {
    cases.push_back({sampler, kEpsilon, ""});
    cases.push_back({sampler, kEpsilon, "", 14, 0.6});
  }
  for (const char* sampler : {"ddim", "pndm", "euler", "dpmpp_2m", "unipc"}) cases.push_back({sampler, kVelocity, ""});
  for (const char* sampler : {"euler", "dpmpp_2m", "unipc", "heun"}) cases.push_back({sampler, kEpsilon, "karras"});
  cases.push_back({"flow_euler", kFlow, ""});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(, Tables, testing::ValuesIn(deterministic()),
                         [](const auto& info) { return info.param.sampler + "_" + std::to_string(info.index); });

TEST(Tabulated, what_draws_noise_is_no_table) {
  std::set<std::string> tables;
  for (const auto& row : scheduler_rows()) {
    const std::string name(row.name);
    const auto scheduler = make({name, name.starts_with("flow_") ? kFlow : kEpsilon, ""});
    if (TabulatedScheduler::of(*scheduler, kCpu)) tables.insert(name);
  }
  EXPECT_EQ(tables, (std::set<std::string>{"ddim", "pndm", "euler", "heun", "dpm2", "dpmpp_2m", "unipc", "deis", "lms",
                                           "flow_euler", "flow_unipc", "tcd"}));
  const auto scheduler = make({"ddim", kEpsilon, ""}, /*eta=*/0.5);
  EXPECT_FALSE(TabulatedScheduler::of(*scheduler, kCpu));
}

TEST(Tabulated, what_clips_is_no_table) {
  std::string clips = kEpsilon;
  clips.replace(clips.find("\"clip_sample\":false"), 19, "\"clip_sample\":true");
  const auto scheduler = make({"ddim", clips, ""});
  EXPECT_FALSE(TabulatedScheduler::of(*scheduler, kCpu));
}

TEST(Tabulated, the_state_of_another_step_is_refused) {
  const auto scheduler = make({"dpmpp_2m", kEpsilon, ""});
  const auto table = TabulatedScheduler::of(*scheduler, kCpu);
  Rng rng = cpu_rng();
  const Tensor x = start(*table);
  EXPECT_THROW(table->step(x, 3, x, rng), Error);
}

}  // namespace
}  // namespace t2v::sampling
