// SPDX-License-Identifier: Apache-2.0
#include "sampling/timesteps.hpp"

#include <algorithm>
#include <cmath>

#include "t2v/error.hpp"

namespace t2v::sampling {
namespace {

[[noreturn]] void bad_spacing(const std::string& spacing) {
  throw Error(ErrorCode::usage, "timestep spacing: wanted leading, linspace or trailing, got '" + spacing + "'");
}

// 0, ratio, 2 ratio, ... descending, plus the offset.
std::vector<double> leading(int64_t count, int64_t ratio, int64_t offset) {
  std::vector<double> t(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    t[static_cast<size_t>(count - 1 - i)] = static_cast<double>(i * ratio + offset);
  }
  return t;
}

std::vector<double> trailing(int64_t from, int64_t train_steps, int64_t steps) {
  const double ratio = static_cast<double>(train_steps) / static_cast<double>(steps);
  std::vector<double> t = arange(static_cast<double>(from), 0.0, -ratio);
  for (double& value : t) {
    value = round_half_even(value) - 1;
  }
  return t;
}

}  // namespace

std::vector<double> linspace(double start, double stop, int64_t count, bool endpoint) {
  std::vector<double> values(static_cast<size_t>(count));
  const int64_t divisions = endpoint ? count - 1 : count;
  const double delta = stop - start;
  const double step = divisions > 0 ? delta / static_cast<double>(divisions) : delta;
  for (int64_t i = 0; i < count; ++i) {
    // A step that underflows to 0 is split the other way round; with one point there is nothing to
    // split.
    const double along = step != 0 || divisions == 0 ? static_cast<double>(i) * step
                                                     : static_cast<double>(i) / static_cast<double>(divisions) * delta;
    values[static_cast<size_t>(i)] = along + start;
  }
  if (endpoint && count > 1) {
    values.back() = stop;
  }
  return values;
}

std::vector<double> arange(double start, double stop, double step) {
  const auto count = static_cast<int64_t>(std::ceil((stop - start) / step));
  // NumPy fills with the difference of the first two values, not with `step`.
  const double delta = (start + step) - start;
  std::vector<double> values(static_cast<size_t>(std::max<int64_t>(count, 0)));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = start + static_cast<double>(i) * delta;
  }
  if (values.size() > 1) {
    values[1] = start + step;
  }
  return values;
}

double round_half_even(double value) { return std::nearbyint(value); }

std::vector<double> as_float32(std::vector<double> values) {
  for (double& value : values) {
    value = static_cast<double>(static_cast<float>(value));
  }
  return values;
}

std::vector<double> spaced_timesteps(const TimestepGrid& grid, bool rounded) {
  if (grid.spacing == "linspace") {
    std::vector<double> t = linspace(0, static_cast<double>(grid.train_steps - 1), grid.steps);
    std::reverse(t.begin(), t.end());
    if (rounded) {
      std::transform(t.begin(), t.end(), t.begin(), round_half_even);
    }
    return t;
  }
  if (grid.spacing == "leading") {
    return leading(grid.steps, grid.train_steps / grid.steps, grid.offset);
  }
  if (grid.spacing == "trailing") {
    return trailing(grid.train_steps, grid.train_steps, grid.steps);
  }
  bad_spacing(grid.spacing);
}

std::vector<double> solver_timesteps(const TimestepGrid& grid) {
  const int64_t last = grid.last > 0 ? grid.last : grid.train_steps;
  std::vector<double> t;
  if (grid.spacing == "linspace") {
    t = linspace(0, static_cast<double>(last - 1), grid.steps + 1);
    std::transform(t.begin(), t.end(), t.begin(), round_half_even);
    std::reverse(t.begin(), t.end());
    t.pop_back();
    return t;
  }
  if (grid.spacing == "leading") {
    const int64_t ratio = last / (grid.steps + 1);
    if (ratio < 1) {
      throw Error(ErrorCode::usage,
                  "steps: this sampler with leading spacing: wanted at most " + std::to_string(last - 1) + ", got " +
                      std::to_string(grid.steps),
                  "use " + std::to_string(last - 1) + " steps or another spacing");
    }
    t = leading(grid.steps + 1, ratio, grid.offset);
    t.pop_back();
    return t;
  }
  if (grid.spacing == "trailing") {
    return trailing(last, grid.train_steps, grid.steps);
  }
  bad_spacing(grid.spacing);
}

int64_t first_call(int64_t steps, double strength, int64_t calls_per_step) {
  const int64_t kept = std::min(static_cast<int64_t>(static_cast<double>(steps) * strength), steps);
  if (!(strength >= 0.0 && strength <= 1.0) || kept < 1) {
    throw Error(ErrorCode::usage,
                "strength: wanted 0 < strength <= 1 with at least one of " + std::to_string(steps) +
                    " steps left, got " + std::to_string(strength),
                "int(steps * strength) steps are run; raise the strength or the steps");
  }
  return (steps - kept) * calls_per_step;
}

}  // namespace t2v::sampling
