// SPDX-License-Identifier: Apache-2.0
// What the sampler tests share with scripts/golden/sampling.py: the patterns that stand for
// predictions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "io/config.hpp"
#include "sampling/scheduler.hpp"
#include "t2v/error.hpp"

namespace t2v::sampling::test {

/// Multiples of 1/50 in [-1, 1]: exact in every language.
inline at::Tensor pattern(const std::vector<int64_t>& shape, int64_t salt) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    count *= size;
  }
  std::vector<float> values;
  for (int64_t j = 0; j < count; ++j) {
    values.push_back(static_cast<float>(static_cast<double>((salt * 1009 + j * 37) * 71 % 101 - 50) / 50));
  }
  return at::tensor(values).reshape(shape);
}

inline io::Config config_of(const std::string& json) {
  return {io::parse_json(json, "scheduler_config.json"), "scheduler_config.json"};
}

inline SchedulerOptions with_steps(int64_t steps) {
  SchedulerOptions options;
  options.steps = steps;
  return options;
}

inline Rng cpu_rng(uint64_t seed = 7) { return {seed, c10::Device(c10::DeviceType::CPU)}; }

/// Message of the Error that `action` throws, with its code in front: "2 steps: wanted ...".
template <typename Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return std::to_string(exit_code(error.code())) + " " + error.what();
  }
  return "no error";
}

}  // namespace t2v::sampling::test
