// SPDX-License-Identifier: Apache-2.0
// The program knows samplers and formats without the libraries that implement them; here the lists
// meet.
#include <algorithm>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include "cli/option_table.hpp"
#include "cli/preflight.hpp"
#include "cli/samplers.hpp"
#include "cli/values.hpp"
#include "io/config.hpp"
#include "media/sinks.hpp"
#include "sampling/camera.hpp"
#include "sampling/scheduler.hpp"
#include "tensor/rng.hpp"

namespace t2v {
namespace {

TEST(Tables, the_program_lists_the_samplers_that_exist) {
  std::vector<std::pair<std::string, std::string>> listed, existing;
  for (const auto& row : cli::sampler_names()) listed.emplace_back(row.name, row.class_name);
  for (const auto& row : sampling::scheduler_rows()) existing.emplace_back(row.name, row.class_name);
  std::ranges::sort(listed);
  std::ranges::sort(existing);
  EXPECT_EQ(listed, existing);
}

/// The first step of a sampler, from the same generator each time.
at::Tensor first_step(std::string_view sampler, double eta) {
  const bool is_flow = sampler.starts_with("flow_");
  const char* config = is_flow ? R"({"_class_name":"FlowMatchEulerDiscreteScheduler","shift":3.0})"
                               : R"({"_class_name":"DDIMScheduler","prediction_type":"epsilon"})";
  sampling::SchedulerOptions options;
  options.steps = 8;
  options.eta = eta;
  const auto scheduler = sampling::make_scheduler(sampler, {io::parse_json(config, "test"), "test"}, options);
  Rng rng(7, c10::Device(c10::kCPU));
  return scheduler->step(at::full({1, 4, 2, 2}, 0.5), 0, at::full({1, 4, 2, 2}, 0.25), rng);
}

TEST(Tables, the_program_knows_which_samplers_eta_changes) {
  for (const auto& sampler : cli::sampler_names()) {
    const bool is_changed = !at::equal(first_step(sampler.name, 0), first_step(sampler.name, 1));
    EXPECT_EQ(sampler.takes_eta, is_changed) << sampler.name;
  }
}

TEST(Tables, the_program_knows_the_formats_and_extensions_that_exist) {
  std::vector<std::string> formats = cli::split_words(cli::find_option("format")->choices);
  std::vector<std::string> existing;
  for (const auto& row : media::sink_rows()) {
    existing.emplace_back(row.name);
    for (const auto& extension : cli::split_words(row.extensions)) {
      cli::OutputOptions output;
      output.path = "a" + extension;
      EXPECT_EQ(cli::output_format(output), row.name);
    }
  }
  std::ranges::sort(formats);
  std::ranges::sort(existing);
  EXPECT_EQ(formats, existing);
}

TEST(Tables, the_program_lists_the_camera_moves_that_exist) {
  std::vector<std::string> existing;
  for (const auto& word : sampling::camera_words()) existing.emplace_back(word.name);
  EXPECT_EQ(cli::split_words(cli::find_option("camera")->choices), existing);
}

}  // namespace
}  // namespace t2v
