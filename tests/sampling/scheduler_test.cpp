// SPDX-License-Identifier: Apache-2.0
// Choosing and configuring samplers: names, swaps, real configs, cut schedules, resuming, refusals.
#include <cmath>
#include <filesystem>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>

#include "support.hpp"

namespace t2v::sampling::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kEpsilon =
    R"({"_class_name":"DDIMScheduler","beta_schedule":"scaled_linear","beta_start":0.00085,"beta_end":0.012,)"
    R"("prediction_type":"epsilon","clip_sample":false,"skip_prk_steps":true,"steps_offset":1,"set_alpha_to_one":false})";
constexpr const char* kFlow =
    R"({"_class_name":"FlowMatchEulerDiscreteScheduler","shift":3.0,"num_train_timesteps":1000})";

std::vector<double> timesteps_of(const std::string& name, const std::string& json, SchedulerOptions options) {
  const auto scheduler = make_scheduler(name, config_of(json), options);
  return {scheduler->timesteps().begin(), scheduler->timesteps().end()};
}

std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const SchedulerRow& row : scheduler_rows()) {
    names.emplace_back(row.name);
  }
  return names;
}

const char* config_for(const std::string& name) { return name.starts_with("flow_") ? kFlow : kEpsilon; }

io::Config real_config(const std::string& model) {
  return io::Config::load(std::filesystem::path(T2V_TEST_DATA) / "data" / "configs" / model / "scheduler.json");
}

TEST(Table, holds_every_sampler_of_the_command_line_contract) {
  EXPECT_THAT(all_names(),
              testing::IsSupersetOf({"ddpm", "ddim", "pndm", "euler", "euler_a", "heun", "dpmpp_2m", "dpmpp_2m_sde",
                                     "dpmpp_sde", "unipc", "lcm", "tcd", "deis", "lms", "flow_euler", "flow_unipc"}));
}

TEST(Table, unknown_names_get_a_near_one) {
  try {
    make_scheduler("dpmp_2m", config_of(kEpsilon), {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_THAT(error.hint(), HasSubstr("dpmpp_2m"));
  }
}

TEST(RealConfigs, modelscope_starts_at_981_and_ends_at_1) {
  const auto scheduler = make_scheduler("DDIMScheduler", real_config("text-to-video-ms-1.7b"), with_steps(50));
  ASSERT_EQ(scheduler->timesteps().size(), 50U);
  EXPECT_EQ(scheduler->timesteps().front(), 981);
  EXPECT_EQ(scheduler->timesteps().back(), 1);
  EXPECT_EQ(scheduler->init_noise_sigma(), 1.0);
}

TEST(RealConfigs, video_diffusion_hands_the_network_a_quarter_of_log_sigma) {
  const auto scheduler =
      make_scheduler("EulerDiscreteScheduler", real_config("stable-video-diffusion-img2vid-xt"), with_steps(25));
  EXPECT_NEAR(scheduler->timesteps().front(), 0.25 * std::log(700.0), 1e-6);
  EXPECT_NEAR(scheduler->init_noise_sigma(), std::sqrt(700.0 * 700.0 + 1), 1e-3);
}

TEST(RealConfigs, every_sampler_runs_on_every_published_config) {
  for (const char* model : {"potat1", "stable-diffusion-2-1-base", "stable-diffusion-v1-5", "text-to-video-ms-1.7b"}) {
    for (const std::string& name : all_names()) {
      const auto scheduler = make_scheduler(name, real_config(model), with_steps(8));
      Rng rng = cpu_rng();
      at::Tensor x = pattern({1, 4, 2, 2}, 0);
      for (size_t i = 0; i < scheduler->timesteps().size(); ++i) {
        x = scheduler->step(pattern({1, 4, 2, 2}, 1), static_cast<int64_t>(i), x, rng);
      }
      EXPECT_TRUE(std::isfinite(x.sum().item<double>())) << model << " " << name;
    }
  }
}

TEST(Swap, missing_spacing_is_todays_default_of_the_new_class) {
  EXPECT_THAT(timesteps_of("ddim", R"({})", with_steps(2)), ElementsAre(500, 0));        // leading
  EXPECT_THAT(timesteps_of("euler", R"({})", with_steps(2)), ElementsAre(999, 0));       // linspace
  EXPECT_THAT(timesteps_of("dpmpp_2m", R"({})", with_steps(2)), ElementsAre(999, 500));  // linspace, last dropped
}

TEST(Swap, values_nobody_chose_are_not_carried_over) {
  EXPECT_THAT(timesteps_of("euler", R"({"timestep_spacing":"leading","_use_default_values":["timestep_spacing"]})",
                           with_steps(2)),
              ElementsAre(999, 0));
}

TEST(Swap, a_key_unused_by_the_writer_decides_in_the_reader) {
  EXPECT_EQ(timesteps_of("pndm", R"({"_class_name":"DDIMScheduler","skip_prk_steps":true})", with_steps(10)).size(),
            11U);
  EXPECT_EQ(timesteps_of("pndm", R"({"_class_name":"DDIMScheduler"})", with_steps(10)).size(), 19U);
}

TEST(Swap, names_settle_the_algorithm_and_class_names_leave_it_to_the_config) {
  const char* stochastic = R"({"algorithm_type":"sde-dpmsolver++"})";
  const auto draws = [&](const std::string& name) {
    Rng rng = cpu_rng();
    const at::Tensor before = rng.state();
    make_scheduler(name, config_of(stochastic), with_steps(4))
        ->step(pattern({1, 4, 1, 1}, 1), 0, pattern({1, 4, 1, 1}, 0), rng);
    return !at::equal(before, rng.state());
  };
  EXPECT_FALSE(draws("dpmpp_2m"));
  EXPECT_TRUE(draws("dpmpp_2m_sde"));
  EXPECT_TRUE(draws("DPMSolverMultistepScheduler"));
}

TEST(Swap, a_flow_keeps_its_shift_under_either_name) {
  const auto unipc = timesteps_of("flow_unipc", kFlow, with_steps(4));
  const auto same =
      timesteps_of("UniPCMultistepScheduler",
                   R"({"use_flow_sigmas":true,"prediction_type":"flow_prediction","flow_shift":3.0})", with_steps(4));
  EXPECT_EQ(unipc, same);
  EXPECT_EQ(unipc.front(), 999);  // integers: the sigma just below 1 is cut to 999
  EXPECT_THAT(error_of([] { make_scheduler("ddim", config_of(kFlow), {}); }), HasSubstr("flow-matching checkpoint"));
  EXPECT_THAT(scheduler_warning("flow_euler", config_of(kEpsilon)), HasSubstr("expect noise"));
  EXPECT_EQ(scheduler_warning("flow_euler", config_of(kFlow)), "");
}

TEST(Options, spacing_and_sigmas_override_the_config) {
  SchedulerOptions options = with_steps(4);
  options.spacing = "trailing";
  EXPECT_THAT(timesteps_of("ddim", kEpsilon, options), ElementsAre(999, 749, 499, 249));
  options = with_steps(4);
  options.sigmas = "simple";
  EXPECT_THAT(timesteps_of("euler", R"({"use_karras_sigmas":true})", options), ElementsAre(999, 749, 499, 249));
  options.sigmas = "sgm_uniform";
  EXPECT_THAT(timesteps_of("euler", R"({"use_karras_sigmas":true})", options), ElementsAre(999, 749.25, 499.5, 249.75));
  EXPECT_THAT(timesteps_of("dpmpp_2m", kEpsilon, options), ElementsAre(999, 749, 500, 250));
}

TEST(Options, ancestral_sampling_takes_karras_sigmas_from_the_user_only) {
  const auto plain = timesteps_of("euler_a", R"({})", with_steps(5));
  EXPECT_EQ(timesteps_of("euler_a", R"({"use_karras_sigmas":true})", with_steps(5)), plain);
  SchedulerOptions options = with_steps(5);
  options.sigmas = "karras";
  EXPECT_EQ(timesteps_of("euler_a", R"({})", options),
            timesteps_of("euler", R"({"use_karras_sigmas":true})", with_steps(5)));
}

TEST(Options, a_checkpoint_cannot_set_our_own_keys) {
  EXPECT_EQ(timesteps_of("euler", R"({"_t2v_sigma_grid":"simple"})", with_steps(3)),
            timesteps_of("euler", "{}", with_steps(3)));
}

TEST(Strength, a_zero_signal_start_that_is_cut_off_does_no_harm) {
  const char* json = R"({"rescale_betas_zero_snr":true,"clip_sample":false,"timestep_spacing":"trailing"})";
  SchedulerOptions options = with_steps(10);
  EXPECT_THAT(error_of([&] { timesteps_of("ddim", json, options); }), HasSubstr("rescale_betas_zero_snr"));
  options.strength = 0.5;
  EXPECT_EQ(timesteps_of("ddim", json, options).size(), 5U);
}

TEST(Strength, leaves_the_last_whole_steps) {
  SchedulerOptions options = with_steps(10);
  options.strength = 0.35;  // int(3.5) steps
  EXPECT_EQ(timesteps_of("ddim", kEpsilon, options).size(), 3U);
  EXPECT_EQ(timesteps_of("heun", kEpsilon, options).size(),
            5U);  // two calls a step but for the last
  options.strength = 0.05;
  EXPECT_THAT(error_of([&] { timesteps_of("ddim", kEpsilon, options); }), StartsWith("2 strength: wanted"));
}

TEST(Resume, any_sampler_continues_bit_for_bit) {
  const std::vector<int64_t> shape = {1, 4, 2, 3};
  for (const std::string& name : all_names()) {
    SchedulerOptions options = with_steps(9);
    options.eta = 0.5;
    const auto make = [&] { return make_scheduler(name, config_of(config_for(name)), options); };
    const auto whole = make();
    const auto calls = static_cast<int64_t>(whole->timesteps().size());
    for (int64_t stop = 1; stop < calls; ++stop) {
      Rng rng = cpu_rng();
      const auto first = make();
      at::Tensor x = pattern(shape, 0);
      for (int64_t i = 0; i < stop; ++i) {
        x = first->step(pattern(shape, i + 1), i, x, rng);
      }
      Rng later = cpu_rng(99);
      later.set_state(rng.state());
      const auto second = make();
      second->set_state(first->state());
      at::Tensor y = x;
      for (int64_t i = stop; i < calls; ++i) {
        EXPECT_TRUE(at::equal(first->scale_model_input(x, i), second->scale_model_input(y, i))) << name;
        x = first->step(pattern(shape, i + 1), i, x, rng);
        y = second->step(pattern(shape, i + 1), i, y, later);
      }
      EXPECT_TRUE(at::equal(x, y)) << name << " stopped at " << stop;
    }
  }
}

TEST(Resume, an_incomplete_state_is_an_error) {
  const auto scheduler = make_scheduler("dpmpp_2m", config_of(kEpsilon), with_steps(9));
  Rng rng = cpu_rng();
  const at::Tensor x = pattern({1, 4, 1, 1}, 0);
  EXPECT_THAT(error_of([&] { scheduler->step(x, 4, x, rng); }), StartsWith("3 sampler state: wanted 2"));
}

TEST(Dtype, half_precision_samples_stay_half) {
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
    for (const std::string& name : all_names()) {
      const auto scheduler = make_scheduler(name, config_of(config_for(name)), with_steps(4));
      Rng rng = cpu_rng();
      at::Tensor x = pattern({1, 4, 2, 2}, 0).to(dtype);
      for (size_t i = 0; i < scheduler->timesteps().size(); ++i) {
        EXPECT_EQ(scheduler->scale_model_input(x, static_cast<int64_t>(i)).scalar_type(), dtype) << name;
        x = scheduler->step(pattern({1, 4, 2, 2}, 1).to(dtype), static_cast<int64_t>(i), x, rng);
        ASSERT_EQ(x.scalar_type(), dtype) << name;
      }
      EXPECT_EQ(scheduler->add_noise(x, x, 0).scalar_type(), dtype) << name;
    }
  }
}

TEST(Noise, is_drawn_when_diffusers_draws_it) {
  const auto draws_at = [](const std::string& name, double eta, int64_t call) {
    SchedulerOptions options = with_steps(4);
    options.eta = eta;
    const auto scheduler = make_scheduler(name, config_of(kEpsilon), options);
    Rng rng = cpu_rng();
    at::Tensor x = pattern({1, 4, 1, 1}, 0);
    bool drew = false;
    for (int64_t i = 0; i <= call; ++i) {
      const at::Tensor before = rng.state();
      x = scheduler->step(pattern({1, 4, 1, 1}, i), i, x, rng);
      drew = !at::equal(before, rng.state());
    }
    return drew;
  };
  EXPECT_FALSE(draws_at("ddim", 0.0, 0));
  EXPECT_TRUE(draws_at("ddim", 0.3, 3));  // even at the last step
  EXPECT_TRUE(draws_at("euler_a", 0.0, 3));
  EXPECT_TRUE(draws_at("lcm", 0.0, 0));
  EXPECT_FALSE(draws_at("lcm", 0.0, 3));
  EXPECT_TRUE(draws_at("tcd", 0.3, 0));
  EXPECT_FALSE(draws_at("tcd", 0.0, 0));
  EXPECT_FALSE(draws_at("tcd", 0.3, 3));
}

struct Refusal {
  const char* name;
  const char* json;
  int64_t steps;
  const char* message;
};

TEST(Refusals, Row48_name_the_key_and_what_was_wanted) {
  const Refusal refusals[] = {
      {"ddim", kEpsilon, 0, "2 steps: wanted 1 to 100000, got 0"},
      {"ddim", kEpsilon, 1001, "2 steps: wanted 1 to 1000"},
      {"ddim", kEpsilon, 1000, "2 steps: with steps_offset 1: wanted timesteps below 1000, got 1000"},
      {"lcm", kEpsilon, 51, "2 steps: wanted 1 to 50 (original_inference_steps"},
      {"pndm", R"({})", 3, "2 steps: pndm with Runge-Kutta warm-up"},
      {"dpmpp_2m", R"({"timestep_spacing":"leading"})", 1000,
       "2 steps: this sampler with leading spacing: wanted at most 999"},
      {"ddim", R"({"thresholding":true})", 5,
       "4 not supported: scheduler_config.json: thresholding: wanted false, got true"},
      {"unipc", R"({"solver_p":{}})", 5, "scheduler_config.json: solver_p: wanted null"},
      {"ddim", R"({"beta_schedule":"sigmoid"})", 5, "4 scheduler_config.json: beta_schedule: wanted linear"},
      {"ddim", R"({"prediction_type":"flow_prediction"})", 5,
       "4 scheduler_config.json: sampler: a flow-matching checkpoint"},
      {"pndm", R"({"prediction_type":"sample"})", 5, "4 scheduler_config.json: prediction_type: PNDMScheduler wanted"},
      {"euler", R"({"use_karras_sigmas":true,"use_beta_sigmas":true})", 5, "wanted at most one of them"},
      {"ddim", R"({"trained_betas":[0.1,0.2]})", 5, "3 scheduler_config.json: trained_betas: wanted 1000 values"},
      {"ddim", R"({"rescale_betas_zero_snr":true,"clip_sample":false,"timestep_spacing":"trailing"})", 5,
       "4 scheduler_config.json: rescale_betas_zero_snr: wanted v_prediction"},
      {"ddim", R"({"timestep_spacing":"even"})", 5,
       "2 timestep spacing: wanted leading, linspace or trailing, got 'even'"},
      {"ddim", R"({"num_train_timesteps":1})", 1,
       "scheduler_config.json: num_train_timesteps: wanted an integer from 2"},
      {"DPMSolverMultistepScheduler", R"({"algorithm_type":"dpmsolver"})", 5,
       "final_sigmas_type: dpmsolver wanted sigma_min"},
  };
  for (const Refusal& r : refusals) {
    EXPECT_THAT(error_of([&] { make_scheduler(r.name, config_of(r.json), with_steps(r.steps)); }), HasSubstr(r.message))
        << r.name << " " << r.json;
  }
}

TEST(Refusals, sigma_grids_need_a_sampler_that_walks_sigmas) {
  SchedulerOptions options = with_steps(5);
  options.sigmas = "karras";
  EXPECT_THAT(error_of([&] { make_scheduler("ddim", config_of(kEpsilon), options); }),
              StartsWith("4 sigmas: this sampler"));
  options.sigmas = "karas";
  EXPECT_THAT(error_of([&] { make_scheduler("euler", config_of(kEpsilon), options); }),
              StartsWith("2 sigmas: wanted one of"));
}

TEST(Refusals, Row47_a_singular_step_is_our_error_not_the_solvers) {
  const char* json = R"({"use_karras_sigmas":true,"solver_order":3,"lower_order_final":false})";
  EXPECT_THAT(error_of([&] {
                const auto scheduler = make_scheduler("unipc", config_of(json), with_steps(16));
                Rng rng = cpu_rng();
                at::Tensor x = pattern({1, 4, 1, 1}, 0);
                for (int64_t i = 0; i < 16; ++i) {
                  x = scheduler->step(pattern({1, 4, 1, 1}, i), i, x, rng);
                }
              }),
              StartsWith("7 unipc: wanted noise levels"));
}

TEST(ZeroSnr, is_fine_where_the_first_timestep_stays_below_the_end) {
  EXPECT_EQ(error_of([] {
              make_scheduler("ddim", config_of(R"({"rescale_betas_zero_snr":true,"clip_sample":false})"),
                             with_steps(50));
            }),
            "no error");
}

TEST(TrainedBetas, replace_the_formula) {
  const auto scheduler = make_scheduler(
      "ddim", config_of(R"({"num_train_timesteps":2,"trained_betas":[0.1,0.5],"clip_sample":false})"), with_steps(2));
  const at::Tensor one = pattern({1, 1}, 0) * 0 + 1;
  EXPECT_NEAR(scheduler->add_noise(one, one * 0, 0).item<double>(), std::sqrt(0.45), 1e-6);
  EXPECT_NEAR(scheduler->add_noise(one, one * 0, 1).item<double>(), std::sqrt(0.9), 1e-6);
}

}  // namespace
}  // namespace t2v::sampling::test
