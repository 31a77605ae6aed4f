// SPDX-License-Identifier: Apache-2.0
// Every sampler against diffusers over whole schedules, on the same predictions
// (scripts/golden/sampling.py).
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "io/tensor_file.hpp"
#include "support.hpp"

namespace t2v::sampling::test {
namespace {

const std::vector<int64_t> kShape = {1, 4, 1, 1};

std::filesystem::path golden_dir() {
  const char* other = std::getenv("T2V_SAMPLING_GOLDEN");
  return other != nullptr ? other : std::filesystem::path(T2V_TEST_DATA) / "golden" / "sampling";
}

const io::Json& golden() {
  static const io::Json json = io::load_json(golden_dir() / "cases.json",
                                             {.max_bytes = size_t{1} << 28, .max_depth = 16, .allow_nonfinite = true});
  return json;
}

SchedulerOptions options_of(const io::Json& entry) {
  const io::Config given(entry["options"], "options");
  SchedulerOptions options;
  options.steps = given.get_int("steps");
  options.eta = given.get_double("eta", 0.0);
  options.strength = given.get_double("strength", 1.0);
  options.image_seq_len = given.get_int("image_seq_len", 0);
  return options;
}

std::vector<double> flat(const at::Tensor& t) {
  const at::Tensor values = t.to(at::kDouble).contiguous();
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()};
}

/// Largest difference of a group of values, relative to the largest of them.
class Deviation {
 public:
  explicit Deviation(const float* expected) : expected_(expected) {}
  void add(const char* group, double got) {
    auto& [difference, scale] = groups_[group];
    const double wanted = static_cast<double>(*expected_++);
    difference = std::isnan(got) ? INFINITY : std::max(difference, std::fabs(got - wanted));
    scale = std::max(scale, std::fabs(wanted));
  }
  std::map<std::string, double> relative() const {
    std::map<std::string, double> result;
    for (const auto& [name, pair] : groups_) {
      result[name] = pair.second > 0 ? pair.first / pair.second : pair.first;
    }
    return result;
  }

 private:
  const float* expected_;
  std::map<std::string, std::pair<double, double>> groups_;
};

struct Outcome {
  std::vector<double> timesteps, levels, scaled, states;
  double init_sigma = 0;
};

Outcome run(const io::Json& entry) {
  const io::Config config(entry["config"], "scheduler_config.json");
  const auto scheduler = make_scheduler(entry["class"].get<std::string>(), config, options_of(entry));
  Rng rng = cpu_rng();
  Outcome out;
  out.init_sigma = scheduler->init_noise_sigma();
  at::Tensor sample = pattern(kShape, 0) * out.init_sigma;
  const auto calls = static_cast<int64_t>(scheduler->timesteps().size());
  for (int64_t i = 0; i < calls; ++i) {
    out.timesteps.push_back(scheduler->timesteps()[static_cast<size_t>(i)]);
    out.levels.push_back(flat(scheduler->add_noise(at::zeros({1, 1, 1, 1}), at::ones({1, 1, 1, 1}), i))[0]);
    out.scaled.push_back(flat(scheduler->scale_model_input(sample, i))[static_cast<size_t>(i % 4)]);
    sample = scheduler->step(pattern(kShape, i + 1), i, sample, rng);
    const std::vector<double> state = flat(sample);
    out.states.insert(out.states.end(), state.begin(), state.end());
  }
  return out;
}

std::map<std::string, double> compare(const Outcome& got, const float* expected) {
  Deviation deviation(expected);
  deviation.add("init_noise_sigma", got.init_sigma);
  for (const double v : got.timesteps) deviation.add("timesteps", v);
  for (const double v : got.levels) deviation.add("levels", v);
  for (const double v : got.scaled) deviation.add("scaled", v);
  for (const double v : got.states) deviation.add("states", v);
  return deviation.relative();
}

class Golden : public testing::TestWithParam<std::string> {};

// 1e-5 over the whole schedule is the contract, for states and for the network inputs made of them
// (LMS needs it: SciPy integrates its coefficients in fp32; everything else comes out equal).
// Timesteps and levels: one rounding.
TEST_P(Golden, whole_schedules_equal_diffusers) {
  const auto file = io::open_tensor_file(golden_dir() / "values.safetensors");
  const auto* values = reinterpret_cast<const float*>(file->tensors().at("values").bytes.data());
  std::map<std::string, double> worst;
  int64_t compared = 0;
  int64_t refused = 0;
  for (const io::Json& entry : golden()["cases"]) {
    if (entry["class"] != GetParam()) {
      continue;
    }
    const std::string about = entry.dump();
    if (!entry.contains("at")) {  // diffusers refuses, or returns NaN: an Error, or a NaN that the
                                  // engine reports
      bool stopped = false;
      try {
        for (const double v : run(entry).states) stopped = stopped || !std::isfinite(v);
      } catch (const Error& error) {
        stopped = true;
        EXPECT_NE(error.code(), ErrorCode::internal) << about << "\n" << error.what();
      }
      EXPECT_TRUE(stopped) << about;
      ++refused;
      continue;
    }
    try {
      const Outcome got = run(entry);
      ASSERT_EQ(static_cast<int64_t>(got.timesteps.size()), entry["calls"].get<int64_t>()) << about;
      for (const auto& [group, deviation] : compare(got, values + entry["at"].get<size_t>())) {
        worst[group] = std::max(worst[group], deviation);
        EXPECT_LE(deviation, group == "states" || group == "scaled" ? 1e-5 : 1e-6) << group << " of " << about;
      }
    } catch (const Error& error) {
      ADD_FAILURE() << about << "\n" << error.what();
    }
    ++compared;
  }
  ASSERT_GT(compared, 0) << "no cases for this class";
  std::printf("  %lld cases compared, %lld refused; worst relative deviation:", static_cast<long long>(compared),
              static_cast<long long>(refused));
  for (const auto& [group, deviation] : worst) {
    std::printf(" %s %.1e", group.c_str(), deviation);
  }
  std::printf("\n");
}

INSTANTIATE_TEST_SUITE_P(classes, Golden,
                         testing::Values("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "LCMScheduler",
                                         "TCDScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
                                         "HeunDiscreteScheduler", "LMSDiscreteScheduler", "DPMSolverSDEScheduler",
                                         "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
                                         "DPMSolverMultistepScheduler", "UniPCMultistepScheduler",
                                         "DEISMultistepScheduler", "FlowMatchEulerDiscreteScheduler"),
                         [](const auto& row) { return row.param; });

// Rounding decides how many values numpy.arange gives, so 1000 counts a spacing are compared by
// checksum.
TEST(Timesteps, every_number_of_steps_gives_the_grid_of_diffusers) {
  for (const auto& [key, expected] : golden()["counts"].items()) {
    const std::string class_name = key.substr(0, key.find('/'));
    const io::Config config(io::Json{{"timestep_spacing", key.substr(key.find('/') + 1)}}, "config");
    std::vector<double> sums(20);
    for (int64_t steps = 1; steps <= 1000; ++steps) {
      const auto odd = expected["unexpected"].find(std::to_string(steps));
      const bool is_odd = odd != expected["unexpected"].end();
      try {
        const auto scheduler = make_scheduler(class_name, config, with_steps(steps));
        const auto t = scheduler->timesteps();
        ASSERT_EQ(static_cast<int64_t>(t.size()), is_odd ? (*odd)[0].get<int64_t>() : steps) << key << " " << steps;
        for (size_t n = 0; n < t.size(); ++n) {
          sums[static_cast<size_t>(steps - 1) / 50] += t[n] * static_cast<double>(n + 1);
        }
      } catch (const Error& error) {
        // Only steps that give this class repeated levels may be refused.
        EXPECT_TRUE(steps >= 999 && key == "DPMSolverMultistepScheduler/leading")
            << key << " " << steps << error.what();
        return;
      }
    }
    for (size_t n = 0; n < sums.size(); ++n) {
      const double wanted = expected["sums_of_50"][n].get<double>();
      EXPECT_NEAR(sums[n], wanted, 1e-9 * std::fabs(wanted)) << key << " steps from " << n * 50 + 1;
    }
  }
}

}  // namespace
}  // namespace t2v::sampling::test
