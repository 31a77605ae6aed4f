// SPDX-License-Identifier: Apache-2.0
// A sampler as a table makes the sampler's run, and what is no table is left alone.
#include "sampling/tabulated.hpp"

#include <ostream>
#include <span>
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

const char* kNoisyFlow = R"({"_class_name":"FlowMatchEulerDiscreteScheduler","shift":3.0,"num_train_timesteps":1000,)"
                         R"("stochastic_sampling":true})";

struct Case {
  std::string sampler, config, sigmas;
  int64_t steps = 9;
  double strength = 1.0, eta = 0;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.sampler << ", " << c.steps << " steps, " << c.sigmas; }

std::unique_ptr<Scheduler> make(const Case& c) {
  SchedulerOptions options;
  options.steps = c.steps;
  options.strength = c.strength;
  options.sigmas = c.sigmas;
  options.eta = c.eta;
  return make_scheduler(c.sampler, config_of(c.config), options);
}

/// A network that is no linear function of its input.
Tensor predict(const Tensor& x, int64_t i) { return (x * 0.7).sin() * 0.5 + pattern(kShape, i) * 0.2; }

Tensor run(Scheduler& scheduler, int64_t first, int64_t end, Tensor x, Rng& rng) {
  for (int64_t i = first; i < end; ++i) x = scheduler.step(predict(scheduler.scale_model_input(x, i), i), i, x, rng);
  return x;
}
int64_t calls(const Scheduler& scheduler) { return static_cast<int64_t>(scheduler.timesteps().size()); }
Tensor start(const Scheduler& scheduler) { return pattern(kShape, 3) * scheduler.init_noise_sigma(); }

Tensor whole_run(Scheduler& scheduler, Rng& rng) { return run(scheduler, 0, calls(scheduler), start(scheduler), rng); }

double difference(const Tensor& got, const Tensor& want) { return ((got - want).norm() / want.norm()).item<double>(); }

class Tables : public testing::TestWithParam<Case> {};

// Both are fp32 in another order of roundings: a few ulp a step, which multistep methods amplify.
constexpr double kTolerance = 2e-5;

TEST_P(Tables, make_the_samplers_run) {
  const auto plain = make(GetParam()), tabulated = make(GetParam());
  const auto table = TabulatedScheduler::of(*tabulated, kCpu);
  ASSERT_TRUE(table);
  EXPECT_TRUE(tabulated->state().empty()) << "left as it was";
  Rng rng = cpu_rng(), plain_rng = cpu_rng();
  EXPECT_LT(difference(whole_run(*table, rng), whole_run(*plain, plain_rng)), kTolerance);
  EXPECT_TRUE(at::equal(rng.state(), plain_rng.state()));
}

TEST_P(Tables, hand_a_run_over_to_the_sampler_and_take_it_back_after_any_step) {
  const auto whole = make(GetParam());
  Rng whole_rng = cpu_rng();
  const Tensor want = whole_run(*whole, whole_rng);
  for (int64_t done = 1; done < calls(*whole); ++done) {
    const auto plain = make(GetParam()), tabulated = make(GetParam());
    const auto table = TabulatedScheduler::of(*tabulated, kCpu);
    const auto part = [&](Scheduler& first, Scheduler& second) {
      Rng rng = cpu_rng();
      const Tensor x = run(first, 0, done, start(first), rng);
      second.set_state(first.state());
      return run(second, done, calls(second), x, rng);
    };
    EXPECT_LT(difference(part(*table, *plain), want), kTolerance) << done;
    plain->set_state({});
    EXPECT_LT(difference(part(*plain, *table), want), kTolerance) << done;
  }
}

TEST_P(Tables, go_on_from_their_own_state_bit_for_bit) {
  const auto scheduler = make(GetParam());
  const auto table = TabulatedScheduler::of(*scheduler, kCpu);
  Rng rng = cpu_rng();
  const Tensor want = whole_run(*table, rng);
  table->set_state({});
  rng = cpu_rng();
  const Tensor x = run(*table, 0, 3, start(*table), rng);
  const auto state = table->state();
  table->set_state({});
  table->set_state(state);
  EXPECT_TRUE(at::equal(run(*table, 3, calls(*table), x, rng), want));
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const char* sampler : {"ddim", "pndm", "euler", "heun", "dpm2", "lms", "dpmpp_2m", "deis", "unipc"}) {
    cases.push_back({sampler, kEpsilon, ""});
    cases.push_back({sampler, kEpsilon, "", 14, 0.6});
  }
  for (const char* sampler : {"ddim", "pndm", "euler", "dpmpp_2m", "unipc"}) cases.push_back({sampler, kVelocity, ""});
  for (const char* sampler : {"euler", "dpmpp_2m", "unipc", "heun"}) cases.push_back({sampler, kEpsilon, "karras"});
  cases.push_back({"flow_euler", kFlow, ""});

  for (const char* sampler : {"ddpm", "euler_a", "dpm2_a", "dpmpp_2m_sde", "dpmpp_sde", "lcm"}) {  // draw noise
    cases.push_back({sampler, kEpsilon, ""});
    cases.push_back({sampler, kEpsilon, "", 14, 0.6});
  }
  for (const char* sampler : {"ddim", "tcd"}) cases.push_back({sampler, kEpsilon, "", 9, 1.0, /*eta=*/0.6});
  for (const char* sampler : {"ddpm", "euler_a", "dpmpp_2m_sde", "lcm"}) cases.push_back({sampler, kVelocity, ""});
  for (const char* sampler : {"dpm2_a", "dpmpp_2m_sde", "dpmpp_sde"}) cases.push_back({sampler, kEpsilon, "karras"});
  cases.push_back({"flow_euler", kNoisyFlow, ""});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(, Tables, testing::ValuesIn(all_cases()),
                         [](const auto& info) { return info.param.sampler + "_" + std::to_string(info.index); });

TEST(Tabulated, every_sampler_is_a_table) {
  for (const auto& row : scheduler_rows()) {
    const std::string name(row.name);
    for (const double eta : {0.0, 0.5}) {
      const auto scheduler = make({name, name.starts_with("flow_") ? kFlow : kEpsilon, "", 9, 1.0, eta});
      EXPECT_TRUE(TabulatedScheduler::of(*scheduler, kCpu)) << name << ", eta " << eta;
    }
  }
}

TEST(Tabulated, what_clips_is_no_table) {
  std::string clips = kEpsilon;
  clips.replace(clips.find("\"clip_sample\":false"), 19, "\"clip_sample\":true");
  for (const auto& row : scheduler_rows()) {
    const std::string name(row.name);
    const auto scheduler = make({name, name.starts_with("flow_") ? kFlow : clips, ""});
    const bool clips_here = name == "ddpm" || name == "ddim" || name == "heun" || name == "lcm";
    EXPECT_EQ(TabulatedScheduler::of(*scheduler, kCpu) == nullptr, clips_here) << name;
  }
}

/// Makes x + i * (first draw - 2 * second draw) in step i, which draws i % 3 times.
class DrawsTwice : public Scheduler {
 public:
  std::span<const double> timesteps() const override { return timesteps_; }
  double init_noise_sigma() const override { return 1; }
  Tensor scale_model_input(const Tensor& sample, int64_t) const override { return sample; }
  Tensor step(const Tensor& output, int64_t i, const Tensor& sample, Rng& rng) override {
    Tensor next = sample + output;
    const double factors[] = {1, -2};
    for (int64_t k = 0; k < i % 3; ++k) next = next + weighed(rng.normal_like(drawn_like(sample))) * factors[k] * i;
    return next;
  }
  Tensor add_noise(const Tensor& original, const Tensor&, int64_t) const override { return original; }
  std::map<std::string, Tensor> state() const override { return {}; }
  void set_state(const std::map<std::string, Tensor>&) override {}

 private:
  virtual Tensor drawn_like(const Tensor& sample) const { return sample; }
  virtual Tensor weighed(const Tensor& noise) const { return noise; }
  std::vector<double> timesteps_ = std::vector<double>(9);
};

TEST(Tabulated, noise_keeps_the_order_of_its_draws) {
  DrawsTwice scheduler;
  const auto table = TabulatedScheduler::of(scheduler, kCpu);
  ASSERT_TRUE(table);
  Rng rng = cpu_rng(), plain_rng = cpu_rng();
  EXPECT_LT(difference(whole_run(*table, rng), whole_run(scheduler, plain_rng)), kTolerance);
  EXPECT_TRUE(at::equal(rng.state(), plain_rng.state()));
}

TEST(Tabulated, noise_of_another_size_than_the_state_is_no_column) {
  class OneForAll final : public DrawsTwice {
    Tensor drawn_like(const Tensor& sample) const override { return sample.flatten()[0]; }
  } scheduler;
  EXPECT_FALSE(TabulatedScheduler::of(scheduler, kCpu));
}

TEST(Tabulated, noise_of_which_a_step_is_no_linear_function_is_no_column) {
  class Bends final : public DrawsTwice {
    Tensor weighed(const Tensor& noise) const override { return noise.abs(); }
  } scheduler;
  EXPECT_FALSE(TabulatedScheduler::of(scheduler, kCpu));
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
